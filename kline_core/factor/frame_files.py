"""Frames as files for other programs: Parquet, Arrow IPC or CSV. A file appears under its name once it is complete."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kline_core._text import refusal
from kline_core.errors import InputError


def _csv(frame: pd.DataFrame, place: Path, index: bool) -> None:
    frame.to_csv(place, index=index, date_format="%Y-%m-%d")


def _parquet(frame: pd.DataFrame, place: Path, index: bool) -> None:
    pq.write_table(_table(frame, index), place)


def _arrow(frame: pd.DataFrame, place: Path, index: bool) -> None:
    table = _table(frame, index)
    # Uncompressed, so that readers may map it into memory.
    with pa.OSFile(str(place), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


WRITERS: Final[dict[str, Callable[[pd.DataFrame, Path, bool], None]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".arrow": _arrow,
    ".feather": _arrow,
}
"""By the ending of a file's name. Feather's second version is an Arrow IPC file."""
SUFFIXES: Final = tuple(WRITERS)


def check_file(path: Path) -> None:
    """Raise `InputError` for a file whose ending is none of `SUFFIXES`, or whose folder is not there."""
    if path.suffix not in WRITERS:
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a file without ending'}; use {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}",
            source=str(path),
        )
    check_around(path)


def check_around(path: Path) -> None:
    """Raise `InputError` for a file or folder to be written whose own folder is not there."""
    if not path.parent.is_dir():
        raise InputError(
            f"{path} cannot be written: there is no folder {path.parent}; make it, or name another", source=str(path)
        )


def check_replaceable(folder: Path, ours: Callable[[Path], bool]) -> None:
    """Raise `InputError` if something is there that is neither an empty folder nor, as `ours` says, an old export."""
    if not folder.exists() or (folder.is_dir() and (ours(folder) or not any(folder.iterdir()))):
        return
    raise InputError(
        f"{folder} holds other things than an earlier export, which would be lost; name a new folder",
        source=str(folder),
    )


def write_frame(frame: pd.DataFrame, path: Path, index: bool) -> None:
    """Write a frame to a file, in the place of one that is there; `index`: its index too, before the columns.

    pandas reads the index back from all kinds but CSV. Raises `InputError` as `check_file`, and if the file cannot be
    written.
    """
    check_file(path)
    with replaced(path) as waiting:
        WRITERS[path.suffix](frame, waiting, index)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` for a file that then takes its place.

    Raises `InputError` if the system refuses to write or to rename it; nothing is left behind.
    """
    waiting = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield waiting
        waiting.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({refusal(error)}); name a file that can be written", source=str(path)
        ) from error
    finally:
        with suppress(OSError):
            waiting.unlink()


def _table(frame: pd.DataFrame, index: bool) -> pa.Table:
    table = pa.Table.from_pandas(frame, preserve_index=index)
    # Arrow puts the index after the columns.
    levels = frame.index.nlevels if index else 0
    return table.select([*range(table.num_columns - levels, table.num_columns), *range(table.num_columns - levels)])
