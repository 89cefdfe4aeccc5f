"""Whether an object store refuses to overwrite where it is told to, on which Delta's commits rest.

Two writers that commit at the same time write the same log file, "if there is none"; the store must refuse the second.
A store that ignores the condition (`If-None-Match`) loses the first one's commit, and both are told that all went well.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.fs import DeltaStorageHandler

_SCHEMA = pa.schema([("number", pa.int64())])


def refuses_to_overwrite(uri: str) -> bool:
    """Whether the store refuses the second of two first commits to a table, tried below this URL.

    Raises what Delta raises.
    """
    place = f"{uri.rstrip('/')}/_probe-{uuid4().hex}"
    with ThreadPoolExecutor(1) as other:

        def rows() -> Iterator[pa.RecordBatch]:
            # Delta has seen that there is no table, and asks for rows before it commits: now there is one. It is made
            # in another thread, since Delta's own must not wait for Delta.
            other.submit(DeltaTable.create, place, _SCHEMA).result()
            yield pa.record_batch([pa.array([1])], schema=_SCHEMA)

        reader = pa.RecordBatchReader.from_batches(_SCHEMA, rows())
        try:
            write_deltalake(place, reader, mode="append", commit_properties=CommitProperties(max_commit_retries=0))
        except CommitFailedError:
            return True
        finally:
            _remove(place)
    return False


def _remove(place: str) -> None:
    storage = pafs.PyFileSystem(DeltaStorageHandler(place))
    # A probe that is left over is in nobody's way.
    with suppress(OSError):
        for info in storage.get_file_info(pafs.FileSelector("", recursive=True, allow_not_found=True)):
            if info.is_file:
                storage.delete_file(info.path)
