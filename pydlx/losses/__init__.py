"""Losses as modules, over the differentiable ops."""
