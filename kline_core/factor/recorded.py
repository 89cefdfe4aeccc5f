"""What a run's record says about its settings and the tables that it read, checked against the home as it is now."""

from datetime import UTC, datetime

from kline_core import __version__
from kline_core.bars.bars_cache import files_hash
from kline_core.errors import FingerprintError, HomeError, SettingError
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.home import Home
from kline_core.store.run_records import RunRecord, TableState


class VersionGoneError(HomeError):
    """The version of a table that a run read is not there any more."""


def settings_of(record: RunRecord) -> Settings:
    """Settings of a run.

    Raises `SettingError` if they are out of bounds, and TypeError or KeyError if this version has other ones.
    """
    return Settings(PatternSettings.from_dict(record.settings["patterns"]), FactorSettings(**record.settings["factor"]))


def checked_settings(home: Home, record: RunRecord, purpose: str = "replay it") -> Settings:
    """Settings of a run; raises `FingerprintError` if this version of the package has another method or other settings.

    `purpose`: for what the version of the run is to be installed.
    """
    other = FingerprintError(
        f"run {record.run_id} was made by version {record.package} of this package (method {record.method}), this is "
        f"{__version__}, which computes otherwise; install that version to {purpose}",
        home=home.uri,
        fingerprint=record.fingerprint,
    )
    try:
        settings = settings_of(record)
    except (SettingError, TypeError, KeyError) as error:
        raise other from error
    if settings.fingerprint(record.encoder.fingerprint) != record.fingerprint:
        raise other
    return settings


def check_version(home: Home, record: RunRecord, state: TableState, table: str) -> None:
    """Raise `VersionGoneError` if the version of a table that a run read is not there any more, with the reason."""
    newest = home.version(table)
    if state.version is None:
        return
    what = f"run {record.run_id} read version {state.version} of {table}"
    remedy = "restore a copy of the home from that time to replay it, or compute the values again with `kline run`"
    another = VersionGoneError(
        f"{what}, but {table} of home {home.uri} were made anew or restored since {record.started}; {remedy}",
        home=home.uri,
        table=table,
    )
    if newest is None or state.version > newest or home.identity(table, state.version) != state.identity:
        raise another
    files = home.files(table, state.version)
    if files_hash(files) != state.files:
        raise another
    try:
        home.check_files(table, state.version, files)
    except HomeError as error:
        later = home.history(table, newest - state.version)
        until = f"{datetime.fromtimestamp(later[-1]['timestamp'] / 1000, UTC):%Y-%m-%d}" if later else "now"
        raise VersionGoneError(
            f"{what}, which was the newest until {until} and has been removed since (maintain keeps versions for "
            f"inputs_keep_days, 365 by default); {remedy}",
            home=home.uri,
            table=table,
        ) from error
