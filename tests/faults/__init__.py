"""Faults, in numbers: commands that are killed, run out of disk, or meet damage, and what was lost, doubled or wrong.

`python -m tests.faults` injects them by the hundred and prints the table of the README; `test_faults.py` is its short
form.
"""
