"""Bytes of arrays, each memory counted once."""

from dataclasses import dataclass

import numpy as np

from kline_core.planning.held_bytes import held_bytes


@dataclass
class Holder:
    rows: np.ndarray
    names: list[str]
    others: dict[str, np.ndarray]


def test_what_arrays_share_counts_once():
    rows = np.zeros((10, 4), np.float32)
    other = np.zeros(3)
    holder = Holder(rows[2:5], ["a"], {"same": rows.T, "other": other})
    assert held_bytes(holder) == rows.nbytes + other.nbytes
    assert held_bytes(holder, [other], rows) == rows.nbytes + other.nbytes


def test_a_slice_keeps_the_whole_array_alive():
    assert held_bytes(np.zeros(100)[:1]) == 800
