"""Cases of whole models."""
