"""Cases of image blending."""
