"""Settings and paths from the options of the command line."""

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kline_core._text import refusal
from kline_core.errors import HomeError, SettingError
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.folder import is_folder, table_around
from kline_core.store.home import Home

if TYPE_CHECKING:
    import numpy as np


def settings_from(options: argparse.Namespace) -> Settings:
    """Settings from the options. Raises `SettingError`."""

    given = _given(options, PatternSettings) | _given(options, FactorSettings)
    if given.get("half_life_days") == NO_DECAY:
        given["half_life_days"] = None
    if "return_horizon" in given and not hasattr(options, "horizons"):
        # A command that takes what a pattern is from the table of patterns: its horizons are not known yet.
        given["horizons"] = (given["return_horizon"],)
    preset = getattr(options, "preset", None)
    return Settings.preset("seed" if preset is None else preset, **given)


def pattern_settings_from(options: argparse.Namespace) -> PatternSettings:
    """What a pattern is, from the options of a command that makes no values. Raises `SettingError`."""
    return PatternSettings(**_given(options, PatternSettings))


def _given(options: argparse.Namespace, group: type[PatternSettings | FactorSettings]) -> dict[str, Any]:
    names = [field.name for field in fields(group)]
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def sample_days(options: argparse.Namespace) -> "tuple[np.datetime64 | None, np.datetime64 | None]":
    """The first and the last sample date, None where none is given. Raises `DateError`."""
    from kline_core.dates import optional_date

    return optional_date(options.first, "--first"), optional_date(options.last, "--last")


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


NO_DECAY = "none"
"""What `--half-life` calls None: an option that is None was not given."""
