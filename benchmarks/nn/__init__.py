"""Cases of the layers."""
