"""Benchmark cases of the ops, one file per op."""
