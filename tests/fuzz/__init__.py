"""Hostile input, in numbers: all that is read from outside, mutated by the ten thousand, and what came of it.

`python -m tests.fuzz` runs the cases and prints the table; `test_fuzz.py` is its short form. A case that reaches lines
which none before it reached is kept, and mutated further.
"""
