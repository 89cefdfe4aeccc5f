"""Removal of patterns that are no longer wanted."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kline_core.api.data import as_home, check_settings
from kline_core.encoder.weights import weights_fingerprint
from kline_core.encoder.year_folder import YearFolder
from kline_core.errors import FingerprintError, HomeError, SettingError
from kline_core.patterns.pattern_table import has_patterns, pattern_table
from kline_core.settings import PatternSettings, pattern_fingerprint
from kline_core.store.home import Home
from kline_core.store.run_records import RUNNING, RunRecord, read_records, recorded_runs


@dataclass(frozen=True, slots=True)
class RemovedPatterns:
    """What was removed."""

    table: str
    """Name of the table, or of several with commas between."""
    patterns: int
    runs: int
    """Recorded runs that read this table, which cannot be replayed any more; the values that they stored stay."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def remove_patterns(
    home: Home | str | Path,
    *,
    settings: PatternSettings = PatternSettings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
) -> RemovedPatterns:
    """Remove the table with the patterns of given settings and encoder, or those of each year's encoder.

    Values that were made with them stay.

    Nothing is lost that cannot be made again: `update_patterns` makes them from the bars. What goes for good are the
    table's older versions, and with them the replay of runs that read it.

    Args:
        home: A home, or the folder or URL of one.
        settings: What its patterns are.
        encoder: Weights that they were made with, or a folder with an encoder for each year, of which some may have
            none yet; None for the bundled ones.

    Raises:
        FingerprintError: The home has no patterns of these settings and encoder.
        HomeError: A run that reads the table is at work, or may be; a record of a run cannot be read, so that this is
            not known; or the home is missing, or cannot be read or written.
        EncoderError: The weights cannot be read.
    """
    store = as_home(home)
    check_settings(settings, PatternSettings)
    folder = YearFolder.of(encoder)
    wanted = [weights_fingerprint(encoder)] if folder is None else list(folder.fingerprints.values())
    tables = [pattern_table(store, settings, each) for each in wanted if has_patterns(store, settings, each)]
    if not tables:
        raise _no_such_patterns(store, ", ".join(pattern_fingerprint(settings, each) for each in wanted))
    # Of all tables first, so that none is removed where one is in use.
    readers = {record.run_id for table in tables for record in _readers(store, table)}
    found = RemovedPatterns(", ".join(tables), sum(map(store.row_count, tables)), len(readers))
    for table in tables:
        store.drop(table)
    return found


def _no_such_patterns(home: Home, fingerprint: str) -> FingerprintError:
    made = {name: home.description(name) for name in home.pattern_tables()}
    named = "; ".join(f"{name}: {_how_made(description)}" for name, description in made.items())
    return FingerprintError(
        f"home {home.uri} has no patterns of these settings and encoder (fingerprint {fingerprint}), so nothing was "
        f"removed; {f'name one of those that it has by its options: {named}' if named else 'it has none at all'}",
        home=home.uri,
        fingerprint=fingerprint,
        stored=[str(description["fingerprint"]) for description in made.values() if "fingerprint" in description],
    )


def _how_made(description: dict[str, Any]) -> str:
    """How `kline index` was called for a table, as far as its description tells; with its encoder."""
    try:
        options = PatternSettings.from_dict(description["settings"]).options
    except (KeyError, TypeError, SettingError):
        return "made by an earlier version or another program, which its folder alone tells"
    return f"{options or 'no options'}, encoder {description.get('encoder')}"


def _readers(home: Home, table: str) -> list[RunRecord]:
    """Records of the runs that read a table; none of them at work."""
    # State of a process, which only a cluster's side looks at.
    from kline_core.compute.recording import state_of

    readers = []
    for record in read_records(home, recorded_runs(home)):
        if isinstance(record, HomeError):
            raise HomeError(f"{record}; nothing was removed, since that run may read {table}", home=home.uri)
        read = {
            part.table_of("patterns") for _, part in record.of_years() if part.tables["patterns"].version is not None
        }
        if table not in read:
            continue
        if (state := state_of(record)).startswith(RUNNING):
            raise HomeError(
                f"run {record.run_id}, which reads {table} of home {home.uri}, is {state} since {record.started} on "
                f"{record.process.host}; wait until it has ended, or, if that process is gone, delete "
                f"runs/{record.run_id}.json, and remove again",
                home=home.uri,
                table=table,
            )
        readers.append(record)
    return readers
