"""The demo on real bars of five US stocks."""
