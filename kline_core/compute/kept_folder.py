"""A folder that keeps what is done of a long work, so that it goes on where it was broken off."""

from pathlib import Path
from uuid import uuid4

from kline_core._text import refusal
from kline_core.errors import SettingError
from kline_core.store.folder import table_around


def kept_folder(named: str | Path, parameter: str) -> Path:
    """The folder, made unless it is there, in which a file can be written.

    Raises `SettingError`, which names the parameter, if none can, or if it lies in a table.
    """

    def error(why: str) -> SettingError:
        return SettingError(
            f"{parameter} is {named}, which {why}; name another folder", parameter=parameter, value=named
        )

    try:
        folder = Path(named)
        if (inside := table_around(folder / "file")) is not None:
            raise error(f"lies in the table {inside}")
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid4().hex}"
        probe.write_bytes(b"")
        probe.unlink()
    except (OSError, ValueError, TypeError) as refused:
        raise error(f"cannot be used ({refusal(refused)})") from refused
    return folder
