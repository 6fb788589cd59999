"""Recipes that train the models of ``pydlx.models`` with Lightning: ``pip install "pydlx[train]"``."""
