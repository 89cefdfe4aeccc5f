"""The targets, one module a family; only the one that is asked for is imported."""

from importlib import import_module

from tests.fuzz.target import Target

TARGETS = {
    "csv": ("bar_files", 10),
    "gz": ("bar_files", 5),
    "parquet": ("bar_files", 10),
    "ingest": ("bar_files", 1),
    "zip": ("containers", 5),
    "xlsx": ("containers", 2),
    "ipc": ("containers", 10),
    "frames": ("frames", 5),
    "dates": ("samples", 25),
    "settings": ("settings", 25),
    "parameters": ("settings", 25),
    "options": ("settings", 5),
    "weights": ("weights", 10),
    "cards": ("weights", 25),
    "records": ("homes", 10),
    "tables": ("homes", 3),
    "project": ("local_stack", 25),
    "environment": ("local_stack", 10),
}
"""Names of the targets, with the module of each, and its share of the cases: what is quick to read gets more."""


def share(name: str, cases: int) -> int:
    """Cases of a target, of so many for all together."""
    return max(1, round(cases * TARGETS[name][1] / sum(each for _, each in TARGETS.values())))


def load(name: str) -> Target:
    """A target by its name."""
    target: Target = getattr(import_module(f"tests.fuzz.targets.{TARGETS[name][0]}"), name.upper())
    return target
