"""Hundreds of daily runs in one process against one standing worker, and what grows meanwhile.

`story` is what happens day by day, `measured` what is looked at, `python -m tests.endurance` the table.
"""
