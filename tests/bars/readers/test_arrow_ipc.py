"""Arrow IPC: whatever writes it, every row is read; and what it claims to hold is asked before it is unpacked."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars.readers import read_file
from kline_core.bars.readers.arrow_ipc import is_ipc, read_ipc
from kline_core.bars.readers.contents import FileTooLargeError
from kline_core.errors import InputError
from tests.support.examples import examples

PATH = Path("a.feather")


def bars(rows: int) -> pa.Table:
    days = np.arange("2000-01-01", rows, dtype="datetime64[D]")
    prices = {name: pa.array(np.full(rows, 10.0)) for name in ("open", "high", "low", "close", "volume")}
    symbols = pa.array(np.array(["AAPL", "MSFT"])[np.arange(rows) % 2]).dictionary_encode()
    return pa.table({"symbol": symbols, "date": pa.array(days), "text": ["x" * 40] * rows} | prices)


def file(table: pa.Table, compression: str | None = None, chunk: int | None = None) -> bytes:
    out = pa.BufferOutputStream()
    feather.write_feather(table, out, compression=compression or "uncompressed", chunksize=chunk)
    return out.getvalue().to_pybytes()


def stream(table: pa.Table, compression: str | None = None, chunk: int | None = None) -> bytes:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, chunk)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize("write", [file, stream])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("chunk", [None, 7])
def test_every_way_to_write_it_gives_the_same_rows(tmp_path: Path, write, compression, chunk) -> None:
    table = bars(100)
    data = write(table, compression, chunk)
    assert is_ipc(data)
    assert read_ipc(data, PATH, 10**6).equals(table)
    for name in ("a.feather", "a.arrow", "a.csv"):
        (tmp_path / name).write_bytes(data)
        raw = read_file(tmp_path / name)
        assert raw.frame.index.tolist() == list(range(1, 101))
        assert raw.ignored == ("text",)


@pytest.mark.parametrize("write", [file, stream])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_the_bound_is_on_what_it_holds_unpacked(write, compression) -> None:
    table = bars(2000)
    data = write(table, compression)
    with pytest.raises(FileTooLargeError, match="holds more than 100000 bytes, unpacked"):
        read_ipc(data, PATH, 100_000)
    assert read_ipc(data, PATH, 2 * table.nbytes).num_rows == 2000


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    data = file(pa.table({"a": np.zeros(2 * 10**6)}), "zstd")
    assert len(data) < 10_000
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    with pytest.raises(FileTooLargeError):
        read_ipc(data, PATH, 10**6)
    assert pa.total_allocated_bytes() == before
    # Of what it claims as well as of what it is: with a smaller claim the buffer does not fit.
    lie = data.replace(struct.pack("<q", 8 * 65536), struct.pack("<q", 8 * 655))
    assert lie != data
    with pytest.raises((pa.ArrowException, OSError, ValueError)):
        read_ipc(lie, PATH, 10**8)
    assert pool.bytes_allocated() < before + 10**6


def test_rows_without_any_buffer_are_bounded_too() -> None:
    data = file(pa.table({"a": pa.nulls(10**8)}))
    with pytest.raises(FileTooLargeError):
        read_ipc(data, PATH, 10**8)


def test_one_long_text_that_many_rows_refer_to_counts_for_each(tmp_path: Path) -> None:
    table = bars(1000)
    long = b"x" * 100_000
    many = pa.DictionaryArray.from_arrays(np.zeros(1000, np.int32), [long.decode()])
    view = struct.pack("<i4sii", len(long), b"xxxx", 0, 0)
    views = pa.Array.from_buffers(pa.string_view(), 1000, [None, pa.py_buffer(view * 1000), pa.py_buffer(long)])
    for name, texts in (("a.feather", many), ("b.arrow", views)):
        (tmp_path / name).write_bytes(stream(table.set_column(0, "symbol", texts)))
        assert (tmp_path / name).stat().st_size < 10**6
        with pytest.raises(FileTooLargeError):
            read_file(tmp_path / name, 10**7)


def test_what_was_cut_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    whole = stream(bars(100), chunk=10)
    reader = pa.BufferReader(whole)
    messages = pa.ipc.MessageReader.open_stream(reader)
    ends = []
    while True:
        try:
            messages.read_next_message()
        except StopIteration:
            break
        ends.append(reader.tell())
    for end in (*ends[1:], len(whole) - 3, len(whole) - 100):
        (tmp_path / "a.arrow").write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"a.arrow: cannot be read: .*; deliver it again, whole"):
            read_file(tmp_path / "a.arrow")
    data = file(bars(100))
    for end in (10, 30, len(data) // 2, len(data) - 1):
        (tmp_path / "a.feather").write_bytes(data[:end])
        with pytest.raises(InputError, match=r"a.feather: cannot be read: .*; deliver it again, whole"):
            read_file(tmp_path / "a.feather")


WHOLE = [write(bars(6), packing, chunk) for write in (file, stream) for packing in (None, "lz4") for chunk in (None, 4)]


def test_codes_that_lead_out_of_their_dictionary_are_damage(tmp_path: Path) -> None:
    """Arrow would read them from wherever that is, and take the process with it."""
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 2**30], pa.int32()), ["AAPL", "MSFT"], safe=False)
    table = bars(2)
    (tmp_path / "a.feather").write_bytes(stream(table.set_column(0, "symbol", codes)))
    with pytest.raises(InputError, match=r"a.feather: cannot be read: .*; deliver it again, whole"):
        read_file(tmp_path / "a.feather")
    offsets = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(struct.pack("<iii", 0, 2**30, 4)), pa.py_buffer(b"AAPL")]
    )
    (tmp_path / "b.feather").write_bytes(stream(table.set_column(0, "symbol", offsets)))
    with pytest.raises(InputError, match=r"b.feather: cannot be read: .*; deliver it again, whole"):
        read_file(tmp_path / "b.feather")


@pytest.mark.slow
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_changes_is_rows_or_one_line(tmp_path: Path, data: bytes, changes: list[tuple[int, int]]) -> None:
    changed = bytearray(data)
    for at, byte in changes:
        changed[8 + at % (len(data) - 8)] = byte
    (tmp_path / "a.feather").write_bytes(bytes(changed))
    try:
        read_file(tmp_path / "a.feather", 10**6)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  either is right
