"""Plots, in the only package that imports matplotlib."""
