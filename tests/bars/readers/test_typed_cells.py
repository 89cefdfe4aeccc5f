"""Cells of small text files: as frames of their own, and as the frame of many."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.readers import read_file, text_file
from kline_core.bars.readers.typed_cells import TypedCells, joined_cells

ROWS = ["2024-01-02,10,11,9,10.5,5", "2024-01-03,10,11,9,,7"]
HEADER = "date,open,high,low,close,volume"


def cells_of(path: Path, text: str) -> TypedCells:
    path.write_text(text, encoding="utf-8")
    cells = read_file(path).cells
    assert isinstance(cells, TypedCells)
    return cells


def frames(text: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A file's frame by way of its cells, and the one of a file that is not small."""
    small = cells_of(path, text).frame()
    monkeypatch.setattr(text_file, "_BLOCK_BYTES", 0)
    return small, read_file(path).frame


@pytest.mark.parametrize(
    "text",
    [
        "\n".join([HEADER, *ROWS]),
        "\n".join([f"symbol,{HEADER}", *(f"sh600519,{row}" for row in ROWS)]),
        "\n".join(["\ufeffa title", "", f"{HEADER},amount,turnover,adj_factor", *(f"{row},1.5,,2" for row in ROWS)]),
    ],
)
def test_the_frame_is_that_of_a_larger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    small, large = frames(text, tmp_path / "600519.csv", monkeypatch)
    pd.testing.assert_frame_equal(small, large)


def test_columns_that_tell_of_the_file_are_none_of_its_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = "date,code,open,high,low,close,preclose,volume,amount,adjustflag"
    rows = [f"2024-01-0{day},sh.600519,10,11,9,10.5,10,5,50,1" for day in (2, 3)]
    small, large = frames("\n".join([header, *rows]), tmp_path / "sh.600519.csv", monkeypatch)
    pd.testing.assert_frame_equal(small, large)
    assert "adjustment" not in small.columns


def test_files_below_each_other_hold_what_each_of_them_holds(tmp_path: Path) -> None:
    files = [
        cells_of(tmp_path / f"{name}.csv", "\n".join([*title, HEADER, *ROWS[:rows]])) for name, title, rows in NAMED
    ]
    frame, numbers = joined_cells(files)
    alone = pd.concat([cells.frame() for cells in files])
    pd.testing.assert_frame_equal(frame.astype({"symbol": "str"}).set_axis(numbers), alone)
    assert numbers.tolist() == [2, 3, 3, 2, 3]
    assert frame["symbol"].tolist() == ["600519.SH", "600519.SH", "000001.SZ", "600519.SH", "600519.SH"]


NAMED = [("600519", [], 2), ("000001", ["a title"], 1), ("600519.SH", [], 2)]


def test_columns_may_be_left_out(tmp_path: Path) -> None:
    cells = cells_of(tmp_path / "600519.csv", "\n".join([f"{HEADER},prev_close", *(f"{row},10" for row in ROWS)]))
    assert cells.without(["prev_close", "split"]).table.column_names == HEADER.split(",")
    assert cells.without([]) is cells
    assert np.array_equal(cells.without(["prev_close"]).frame().columns, ["symbol", *HEADER.split(",")])
