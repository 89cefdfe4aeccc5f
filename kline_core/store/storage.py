"""File systems of what is stored: Delta's own, which a folder of this machine is read beside."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake.fs import DeltaStorageHandler

from kline_core.store.folder import home_folder


class _FolderHandler(DeltaStorageHandler):
    """A folder that is listed and written as Delta does it, whole or not at all, and whose files Arrow opens.

    Delta hands over what it reads in Python's bytes: a file of 100 MB that lies in memory took four times as long.
    """

    def __init__(self, folder: str) -> None:
        """Open a folder, whose path is absolute."""
        super().__init__(folder)
        self._folder = Path(folder)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """A file of the folder, to be read at any place. Raises FileNotFoundError, and OSError if it cannot be read.

        It is not mapped: bytes that were compared with a checksum and then read again need not be the same.
        """
        where = self._folder / path
        if where.is_dir():
            # As Delta has it: there is no such file.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return pa.OSFile(str(where))


def storage_of(place: str) -> pafs.FileSystem:
    """File system of a folder, by its absolute path, or of the URL of a place in an object store."""
    handler = DeltaStorageHandler(place) if home_folder(place) is None else _FolderHandler(place)
    return pafs.PyFileSystem(handler)
