"""Blocks of rows: what is read is what was written, and nothing else is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.store.array_folder import DamagedArraysError, write_arrays
from kline_core.store.row_blocks import block_checksums, read_blocks, shape_of

BLOCK = 4


@pytest.fixture
def folder(tmp_path):
    rows = np.arange(22, dtype=np.float32).reshape(11, 2)
    write_arrays(tmp_path / "arrays", {}, {"rows": [rows[:3], rows[3:3], rows[3:]]})
    return tmp_path / "arrays"


def sums(folder):
    return block_checksums(np.load(folder / "rows.npy"), BLOCK)


@given(st.integers(0, 40), st.integers(1, 9), st.lists(st.integers(0, 40), max_size=4))
def test_checksums_do_not_depend_on_parts(count, block, cuts):
    rows = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)
    parts = np.split(rows, sorted(min(cut, count) for cut in cuts))
    whole = block_checksums(rows, block)
    assert whole.dtype == np.uint32
    assert len(whole) == -(-count // block)
    assert block_checksums(parts, block).tolist() == whole.tolist()


@pytest.mark.parametrize(("numbers", "rows"), [([], []), ([0], [0, 1, 2, 3]), ([0, 2], [0, 1, 2, 3, 8, 9, 10])])
def test_blocks_are_read_one_after_the_other(folder, numbers, rows):
    out = np.zeros((len(rows), 2), dtype=np.float32)
    read_blocks(folder, "rows", sums(folder), BLOCK, numbers, out)
    assert np.array_equal(out, np.load(folder / "rows.npy")[rows])
    assert shape_of(folder, "rows") == (11, 2)


def test_a_damaged_block_is_noticed_by_who_reads_it(folder):
    checksums, file = sums(folder), folder / "rows.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    out = np.zeros((4, 2), dtype=np.float32)
    read_blocks(folder, "rows", checksums, BLOCK, [1], out)
    assert out[0, 0] == 8
    with pytest.raises(DamagedArraysError, match=r"rows.npy is not what was written$"):
        read_blocks(folder, "rows", checksums, BLOCK, [2], out[:3])


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:0],
        lambda whole: whole.replace(b"}", b" ", 1),
        lambda whole: whole.replace(b"NUMPY", b"NYMPU", 1),
        lambda whole: whole.replace(b"(11, 2)", b"(12, 2)", 1),
        lambda whole: whole.replace(b"(11, 2)", b"(-1, 2)", 1),
        lambda whole: whole.replace(b"<f4", b"<f8", 1),
        lambda whole: whole.replace(b"<f4", b"xyz", 1),
    ],
)
def test_a_damaged_header_is_noticed(folder, damage):
    checksums, file = sums(folder), folder / "rows.npy"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DamagedArraysError, match=r"rows.npy "):
        shape_of(folder, "rows")
    with pytest.raises(DamagedArraysError, match=r"rows.npy "):
        read_blocks(folder, "rows", checksums, BLOCK, [0], np.zeros((4, 2), dtype=np.float32))


@pytest.mark.parametrize(
    ("out", "numbers"),
    [
        (np.zeros((4, 2)), [0]),
        (np.zeros((4, 3), dtype=np.float32), [0]),
        (np.zeros((5, 2), dtype=np.float32), [0]),
    ],
)
def test_what_does_not_fit_is_refused(folder, out, numbers):
    with pytest.raises(ValueError, match="rows"):
        read_blocks(folder, "rows", sums(folder), BLOCK, numbers, out)
    with pytest.raises(ValueError, match="not what was asked for"):
        read_blocks(folder, "rows", sums(folder)[:1], BLOCK, numbers, out)
