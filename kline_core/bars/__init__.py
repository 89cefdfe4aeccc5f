"""Bars: read from files, checked row by row, stored, and loaded into memory."""
