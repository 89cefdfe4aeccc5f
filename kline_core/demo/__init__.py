"""Demo on real bars of five US stocks."""
