"""Patterns: windows whose outcome is known, with their vectors, and the table that holds them."""
