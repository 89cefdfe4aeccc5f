"""Bytes of the arrays that objects hold."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def held_bytes(*objects: Any) -> int:
    """Bytes of all NumPy arrays within dataclasses, mappings and sequences, memory that arrays share counted once.

    An array counts with the memory that it keeps alive: of a slice, the whole array behind it.
    """
    found: dict[int, int] = {}
    seen: set[int] = set()
    todo: list[Any] = list(objects)
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, np.ndarray):
            while isinstance(each.base, np.ndarray):
                each = each.base
            found[each.__array_interface__["data"][0]] = each.nbytes
        elif is_dataclass(each):
            todo += [getattr(each, field.name) for field in fields(each)]
        elif isinstance(each, Mapping):
            todo += each.values()
        elif isinstance(each, list | tuple):
            todo += each
    return sum(found.values())
