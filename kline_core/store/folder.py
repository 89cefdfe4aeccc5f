"""Where a home lies, whether a folder is one, or may become one, and whether a place lies in a table."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from kline_core._secrets import holds_credentials
from kline_core._text import is_utf8, refusal
from kline_core.errors import HomeError
from kline_core.store.schemas import TABLES

_LOG = "_delta_log"


def what_is_stored(folder: Path) -> str | None:
    """ "a home" or "a Delta table", if the folder is one, whoever's it is; None otherwise."""
    if any(is_folder(folder / table / _LOG) for table in TABLES):
        return "a home"
    return "a Delta table" if is_folder(folder / _LOG) else None


def table_around(place: Path) -> Path | None:
    """Folder of the Delta table in which a file or folder lies, links followed; None if it lies in none."""
    return next((folder for folder in Path(os.path.realpath(place)).parents if is_folder(folder / _LOG)), None)


def is_folder(place: Path) -> bool:
    """Whether a folder is there; not if nobody may look."""
    try:
        return place.is_dir()
    except OSError:
        return False


def _check_place(uri: str) -> None:
    """Refuse an object-store URL that carries credentials. Raises `HomeError`.

    It would stand in process lists, logs, parameters of flow runs and reports.
    """
    if holds_credentials(uri):
        scheme, _, rest = uri.partition("://")
        bare = f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
        raise HomeError(
            f"home {uri} carries credentials or a query, which logs and process lists would show; name it {bare}, and "
            "set the variables of the store, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            home=bare,
        )


def home_uri(named: str | Path) -> str:
    """Absolute path of the folder that is named, or the URL as it is.

    Raises `HomeError` for a name that no folder can have, for a folder that cannot be looked at, and for a URL that
    carries credentials.
    """
    text = str(named)
    if "\0" in text or not is_utf8(text):
        raise HomeError(f"home {text!a} has bytes in its name that are no UTF-8; name another folder", home=text)
    if "://" in text:
        _check_place(text)
        return text
    try:
        path = Path(text).expanduser().absolute()
        # The path of the current folder may have other bytes than the name.
        if not is_utf8(str(path)):
            raise HomeError(f"home {str(path)!a} has bytes in its path that are no UTF-8; name another", home=text)
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except RuntimeError as error:
        user = Path(text).parts[0]
        raise HomeError(
            f"home {text} begins with {user}, and there is no such user here; name another", home=text
        ) from error
    except OSError as error:
        raise HomeError(f"home {text} cannot be used ({refusal(error)}); name another folder", home=text) from error
    return str(path)


def home_folder(uri: str) -> Path | None:
    """Folder of a home, or None if it lies in an object store."""
    return None if "://" in uri else Path(uri)


def why_no_home(uri: str, folder: Path | None) -> str:
    """Message about a place without a bars table, with what to do; `folder` is None if the place is a URL."""
    if folder is None or not folder.exists():
        return f"there is no home at {uri}; make one with `kline ingest` or name another with --home"
    if not folder.is_dir():
        return f"{uri} is a file, not a home; name a folder with --home"
    if not any(folder.iterdir()):
        return f"{uri} is an empty folder, not a home; make one there with `kline ingest`"
    return f"{uri} is no home, or a half-made one: it has no bars table; ingest into an empty folder instead"


def home_gone(uri: str) -> HomeError:
    """Error for a home that was there and has no bars table any more."""
    return HomeError(
        f"the home at {uri} is gone: its bars table was removed after it was opened, so nothing is stored there; "
        "restore it from a copy, or make it again with `kline ingest`, and start again",
        home=uri,
        table="bars",
    )


def check_room(uri: str, folder: Path | None) -> None:
    """Refuse to make a home among other files, but allow finishing one whose creation was cut short.

    Raises `HomeError`. `folder` is None if the place is a URL, which is not checked.
    """
    if folder is None or not folder.exists():
        return
    if not folder.is_dir():
        raise HomeError(why_no_home(uri, folder), home=uri)
    others = sorted(entry.name for entry in folder.iterdir() if entry.name != "bars")
    if others or any(entry.is_file() for entry in folder.rglob("*")):
        held = ", ".join(others[:3]) or "bars without its log"
        raise HomeError(
            f"{uri} holds other things ({held}) and no bars table; name an empty folder with --home", home=uri
        )


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written to the disk of a folder."""
    return shutil.disk_usage(folder).free


def check_space(folder: Path | None, size: int) -> None:
    """Raise OSError if the disk of a folder has no room for so many bytes; object stores are not asked.

    Delta would notice half-way, and write a trace of its own to standard error.
    """
    if folder is None:
        return
    free = free_bytes(folder)
    if free < size:
        raise OSError(
            f"no space left: the disk has {free / 1e6:.1f} MB free, and the write may take {size / 1e6:.1f} MB"
        )
