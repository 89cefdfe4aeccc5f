"""Readers of bar files, one module a layout."""
