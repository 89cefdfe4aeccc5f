"""Backups of a home."""

from pathlib import Path
from typing import TYPE_CHECKING

from kline_core.api.data import as_home
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.maintenance.backup import Backup


def back_up(home: Home | str | Path, place: str | Path, *, prefect: bool = True) -> "Backup":
    """Copy a home, while others work on it, into a new folder that is a home itself.

    Args:
        home: A home, or the folder or URL of one.
        place: Folder to make; one that is empty may be there.
        prefect: Whether the database of the Prefect server that `kline up` keeps in the home comes along.

    Raises:
        HomeError: The home is missing, damaged, or cannot be read; or the place holds something, lies in the home, or
            cannot be written. There is no backup then.
    """
    from kline_core.maintenance.backup import back_up as copy

    return copy(as_home(home), Path(place), prefect)
