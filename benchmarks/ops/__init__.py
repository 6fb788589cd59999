"""Cases of the ops, one file for each."""
