"""What every public function is given, right and wrong: the table of tests/test_bad_input.py."""
