"""Settings and paths from the options of the command line."""

import argparse
import os
from pathlib import Path
from typing import Any

from kline_core._text import refusal
from kline_core.errors import HomeError, SettingError
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.folder import is_folder, table_around
from kline_core.store.home import Home


def settings_from(options: argparse.Namespace) -> Settings:
    """Settings from the options. Raises `SettingError`."""

    def given(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(options, name, None)) is not None}

    return Settings(
        PatternSettings(**given("pattern_stride", "calendar", "allow_jumps", "scales", "scale_weights")),
        FactorSettings(**_fitting_matches(given(*_FACTOR_OPTIONS))),
    )


def _fitting_matches(given: dict[str, Any]) -> dict[str, Any]:
    # A smaller top_k alone would fall below the default min_matches.
    if "top_k" in given and "min_matches" not in given:
        given["min_matches"] = max(1, min(given["top_k"], FactorSettings().min_matches))
    return given


def named_home(options: argparse.Namespace) -> str:
    """The home that --home or KLINE_HOME names. Raises `HomeError` if neither does."""
    named = os.environ.get("KLINE_HOME") if options.home is None else options.home
    if not named:
        raise HomeError("no home is named; give --home FOLDER or set KLINE_HOME")
    return str(named)


def opened_home(options: argparse.Namespace) -> Home:
    """The home that --home or KLINE_HOME names; it must be there. Raises `HomeError`."""
    return Home(named_home(options))


def check_writable(option: str, path: Path) -> None:
    """Check that a file can be written, before any work is done.

    Raises `SettingError` if it cannot, or lies in a table, whose files are written by commits alone.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise SettingError(
            f"{option} is {path}, which cannot be used ({refusal(error)}); name another file",
            parameter=option,
            value=path,
        ) from error
    check_outside_tables(option, path)
    if is_folder(path):
        raise SettingError(f"{option} is {path}, which is a folder; name a file", parameter=option, value=path)
    if not is_folder(path.parent):
        raise SettingError(f"{option} is {path}; its folder does not exist", parameter=option, value=path)
    if not os.access(path if os.access(path, os.F_OK) else path.parent, os.W_OK):
        raise SettingError(f"{option} is {path}, which cannot be written", parameter=option, value=path)


def check_outside_tables(option: str, path: Path) -> None:
    """Raise `SettingError` for a file to write that lies in a Delta table."""
    if (table := table_around(path)) is not None:
        raise SettingError(
            f"{option} is {path}, which lies in the table {table}; name a file elsewhere", parameter=option, value=path
        )


_FACTOR_OPTIONS = ("mode", "top_k", "search_k", "min_matches", "allow_seen", "index", "probes", "min_recall")
