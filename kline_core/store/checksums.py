"""Checksums of data files, so that a file that changed without a commit is told from what was written.

The tables `CHECKED` have them.

A checksum is a file `_checksums/<data file>.<SHA-256>` of the table. Its name says all, so that one listing gives the
checksums of all files, and a crash cannot leave half of one. It holds a line for `sha256sum --check`, too.

Delta never changes a data file, and no two have the same name: a checksum holds for every version and every copy.

In every table a file `_checksums/<version>.version` names the newest version, and holds the checksum of its log file:
where the log ends before it, a commit was lost, which nothing in the log tells.
"""

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from pyarrow.dataset import FileSystemDataset, ParquetFileFormat

FOLDER = "_checksums"
_VERSION = re.compile(r"(\d{20})\.version")
CHECKED = ("bars", "patterns")
"""Tables whose files have checksums: what a value is made from."""
_REPEATED = "symbol"
"""Column of each such table, with few texts in many rows."""
_PIECE = 2**20


class DamagedFileError(OSError):
    """A data file is not what was written."""


def recorded(storage: pafs.FileSystem) -> dict[str, str]:
    """SHA-256 by data file, of the files of a table that have a checksum."""
    return _digests(_listed(storage))


def _listed(storage: pafs.FileSystem) -> list[pafs.FileInfo]:
    found: list[pafs.FileInfo] = storage.get_file_info(pafs.FileSelector(FOLDER, allow_not_found=True))
    return found


def _digests(listed: Iterable[pafs.FileInfo]) -> dict[str, str]:
    split = (info.base_name.rpartition(".") for info in listed)
    return {name: digest for name, _, digest in split if len(digest) == hashlib.sha256().digest_size * 2}


def newest_version(storage: pafs.FileSystem) -> int | None:
    """The newest version whose commit was followed by its checksums; None if none was."""
    return max(_versions(_listed(storage)), default=None)


def _versions(listed: Iterable[pafs.FileInfo]) -> dict[int, str]:
    named = ((_VERSION.fullmatch(info.base_name), info.path) for info in listed)
    return {int(match[1]): path for match, path in named if match}


def record(storage: pafs.FileSystem, files: Iterable[str], version: int) -> None:
    """Give checksums to those of these data files of a version that have none, and note the version."""
    listed = _listed(storage)
    for name in sorted(set(files) - _digests(listed).keys()):
        digest = _digest(content_of(storage, name))
        # Buffered, since Delta takes bytes, which an unbuffered stream does not pass on.
        path, line = checksum_file(name, digest)
        with storage.open_output_stream(path, buffer_size=4096) as stream:
            stream.write(line)
    before = _versions(listed)
    if version in before:
        return
    log = f"_delta_log/{version:020}.json"
    with storage.open_output_stream(version_file(version), buffer_size=4096) as stream:
        stream.write(f"{_digest(content_of(storage, log))}  {log}\n".encode())
    for earlier in [path for number, path in before.items() if number < version]:
        # Another writer may have removed it.
        with suppress(FileNotFoundError):
            storage.delete_file(earlier)


def checksum_file(name: str, digest: str) -> tuple[str, bytes]:
    """Path of the file that holds the checksum of a data file, in the table's folder, and its content."""
    return f"{FOLDER}/{name}.{digest}", f"{digest}  {name}\n".encode()


def version_file(version: int) -> str:
    """Path of the file that notes a version, in the table's folder."""
    return f"{FOLDER}/{version:020}.version"


def forget(storage: pafs.FileSystem, files: Iterable[str]) -> None:
    """Remove the checksums of data files that are about to be removed."""
    have = recorded(storage)
    for name in files:
        if name in have:
            # Another vacuum may have removed it.
            with suppress(FileNotFoundError):
                storage.delete_file(f"{FOLDER}/{name}.{have[name]}")


def check(storage: pafs.FileSystem, files: Iterable[str]) -> None:
    """Raise `DamagedFileError` for the first of these data files that is not what its checksum was made of."""
    have = recorded(storage)
    for name in files:
        if name in have:
            checked_content(storage, name, have)


def check_until(storage: pafs.FileSystem, files: Iterable[str], deadline: float) -> list[str]:
    """As `check`, but no longer than until a moment of `time.monotonic`; the files that were not compared."""
    have = recorded(storage)
    left = []
    for name in files:
        if name not in have or (digest := _digest_until(storage, name, deadline)) is None:
            left.append(name)
        elif digest != have[name]:
            raise _differs(name)
    return left


def read_checked(
    dataset: FileSystemDataset, storage: pafs.FileSystem, columns: Sequence[str] | None, condition: pc.Expression | None
) -> pa.Table:
    """Rows of a dataset, each file read once, compared with its checksum and only then decoded.

    A file that statistics rule out as a whole is neither read nor compared. Raises `DamagedFileError`.
    """
    return pa.concat_tables(checked_parts(dataset, storage, columns, condition))


def checked_parts(
    dataset: FileSystemDataset, storage: pafs.FileSystem, columns: Sequence[str] | None, condition: pc.Expression | None
) -> Iterator[pa.Table]:
    """As `read_checked`, a table without rows and then one for each file."""
    names = dataset.schema.names if columns is None else list(columns)
    schema = pa.schema([dataset.schema.field(name) for name in names])
    yield schema.empty_table()
    for rows in _encoded_parts(dataset, storage, names, condition):
        yield rows.cast(schema)


def symbols_by_file(
    dataset: FileSystemDataset, storage: pafs.FileSystem, condition: pc.Expression | None, sizes: Mapping[str, int]
) -> Iterator[set[str]]:
    """The symbols that rows of a dataset have, a file at a time, read as by `read_checked`.

    The smallest file comes first, by `sizes`, bytes by file: a small one with a day's bars names most symbols.
    """
    for rows in _encoded_parts(dataset, storage, [_REPEATED], condition, sizes):
        yield set(rows[_REPEATED].unique().to_pylist())


def _encoded_parts(
    dataset: FileSystemDataset,
    storage: pafs.FileSystem,
    names: list[str],
    condition: pc.Expression | None,
    sizes: Mapping[str, int] | None = None,
) -> Iterator[pa.Table]:
    """As `checked_parts`, with symbols encoded: to decode millions of the same few texts takes four times as long.

    Files come in the order of their `sizes`, if these are given.
    """
    have, schema = recorded(storage), dataset.schema
    at = schema.get_field_index(_REPEATED)
    encoded = schema.set(at, schema.field(at).with_type(pa.dictionary(pa.int32(), pa.string())))
    encoding = ParquetFileFormat(dictionary_columns=[_REPEATED])
    fragments = list(dataset.get_fragments(condition))
    if sizes is not None:
        fragments.sort(key=lambda fragment: sizes[fragment.path])
    for fragment in fragments:
        content = pa.BufferReader(checked_content(storage, fragment.path, have))
        part = encoding.make_fragment(content, partition_expression=fragment.partition_expression)
        try:
            rows = part.to_table(schema=encoded, columns=names, filter=condition)
        except (OSError, pa.ArrowException) as error:
            raise DamagedFileError(f"its file {fragment.path} cannot be decoded: {error}") from error
        yield rows


def checked_content(storage: pafs.FileSystem, name: str, have: Mapping[str, str]) -> pa.Buffer:
    """Content of a data file. Raises `DamagedFileError` if `have`, of `recorded`, has another checksum for it, and
    FileNotFoundError if it is gone."""
    content = content_of(storage, name)
    if name in have and _digest(content) != have[name]:
        raise _differs(name)
    return content


def _differs(name: str) -> DamagedFileError:
    return DamagedFileError(f"its file {name} is not what was written: its SHA-256 differs from its checksum")


def content_of(storage: pafs.FileSystem, name: str) -> pa.Buffer:
    """Content of a file of a table. Raises FileNotFoundError if it is gone."""
    with _opened(storage, name) as stream:
        return stream.read_buffer()


def _opened(storage: pafs.FileSystem, name: str) -> pa.NativeFile:
    try:
        return storage.open_input_file(name)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"its file {name} is gone") from error


def _digest_until(storage: pafs.FileSystem, name: str, deadline: float) -> str | None:
    """SHA-256 of a file, read in pieces, since it may be too large for the time that is left; None if it was."""
    digest = hashlib.sha256()
    with _opened(storage, name) as stream:
        while time.monotonic() <= deadline:
            if not (piece := stream.read(_PIECE)):
                return digest.hexdigest()
            digest.update(piece)
    return None


def _digest(content: pa.Buffer) -> str:
    return hashlib.sha256(content).hexdigest()
