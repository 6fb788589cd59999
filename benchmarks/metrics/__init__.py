"""What is measured of `pydlx.metrics`."""
