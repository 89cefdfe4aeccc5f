"""Artifacts of the flows: progress, summary, pictures, and advice after a failure."""
