"""Bars: readers of files, row checks, ingest into the table, and bars in memory."""
