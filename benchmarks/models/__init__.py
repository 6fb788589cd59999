"""Benchmark cases of layers of models, and of whole models."""
