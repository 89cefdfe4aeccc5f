"""Where a home lies, and whether a folder is one, or may become one."""

from contextlib import suppress
from pathlib import Path

from kline_core.errors import HomeError


def home_uri(named: str | Path) -> str:
    """Absolute path of the folder that is named, or the URL as it is.

    Raises `HomeError` for a name that no folder can have, and for a folder that cannot be looked at.
    """
    text = str(named)
    if "\0" in text or _undecoded(text):
        raise HomeError(f"home {text!a} has bytes in its name that are no UTF-8; name another folder", home=text)
    if "://" in text:
        return text
    try:
        path = Path(text).expanduser().absolute()
        # The path of the current folder may have other bytes than the name.
        if _undecoded(str(path)):
            raise HomeError(f"home {str(path)!a} has bytes in its path that are no UTF-8; name another", home=text)
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except RuntimeError as error:
        user = Path(text).parts[0]
        raise HomeError(
            f"home {text} begins with {user}, and there is no such user here; name another", home=text
        ) from error
    except OSError as error:
        raise HomeError(f"home {text} cannot be used ({error.strerror}); name another folder", home=text) from error
    return str(path)


def _undecoded(text: str) -> bool:
    """Whether a name holds bytes that are no UTF-8, which Python keeps as surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def why_no_home(uri: str, folder: Path | None) -> str:
    """Message about a place without a bars table, with what to do; `folder` is None if the place is a URL."""
    if folder is None or not folder.exists():
        return f"there is no home at {uri}; make one with `kline ingest` or name another with --home"
    if not folder.is_dir():
        return f"{uri} is a file, not a home; name a folder with --home"
    if not any(folder.iterdir()):
        return f"{uri} is an empty folder, not a home; make one there with `kline ingest`"
    return f"{uri} is no home, or a half-made one: it has no bars table; ingest into an empty folder instead"


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
