"""The exact and the approximate search for the nearest patterns, under the point-in-time rule."""
