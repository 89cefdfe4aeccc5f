"""Verification of every table of a home against the others.

1. Bars by themselves (`verify_inputs.check_bars`).
2. Patterns against the windows and outcomes that the bars give (`verify_inputs.compare_with_bars`). A symbol with
   damaged bars is left out.
3. Values and matches by themselves, against each other, and against bars and patterns (`verify_values`).

Verification changes nothing, and reads all from the tables. Workers derive from these what they hold, or map it from
the index cache, whose checksums are compared too. Runs may write meanwhile: each table is read at one version, and
`factors` and `matches` at versions that belong together.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from kline_core._logging import one_line
from kline_core._text import abbreviated
from kline_core.bars.jumps import released
from kline_core.encoder.weights import weights_fingerprint, weights_shape
from kline_core.encoder.year_folder import YearFolder
from kline_core.errors import HomeError, SettingError
from kline_core.factor.stored_values import check_not_lost
from kline_core.maintenance.checkup import table_names
from kline_core.maintenance.findings import CUT_OFF, DAMAGED, PENDING, Finding, Ledger, State
from kline_core.maintenance.moment import derived_first, values_with_matches
from kline_core.maintenance.verify_inputs import Expected, check_bars, compare_with_bars, note_pending
from kline_core.maintenance.verify_many import check_many
from kline_core.maintenance.verify_members import check_members
from kline_core.maintenance.verify_values import check_rows, check_values, check_win_rates
from kline_core.patterns.pattern_table import FIRST
from kline_core.patterns.update_source import UpdateSource, update_source
from kline_core.settings import METHOD, PatternSettings, Settings, pattern_fingerprint
from kline_core.store.array_folder import INDEX_CACHE, DamagedArraysError, array_folders, read_arrays
from kline_core.store.home import Home
from kline_core.store.remedies import ANEW, REBUILD, UNREADABLE, remedy_of
from kline_core.store.schemas import kind_of, table_schema

_DEFAULT = Settings()

_HEADLINES: Final[dict[State, str]] = {
    DAMAGED: "tables are damaged",
    CUT_OFF: "tables are sound, and work on them was cut off",
    PENDING: "tables are sound, and work is pending",
}


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Findings of a verification, and the tables that it read."""

    findings: list[Finding]
    notes: list[str]
    """What was not checked in full, and why; no damage."""
    rows: dict[str, int]
    """Number of rows by table, of the tables that exist."""
    versions: dict[str, int]
    """Versions that were read, by table."""

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged; work may be pending, or have been cut off."""
        return self.state != DAMAGED

    @property
    def state(self) -> Literal["damaged", "cut off", "pending", "sound"]:
        """The worst of the findings, or sound if there are none."""
        found = {finding.state for finding in self.findings}
        return next((state for state in _HEADLINES if state in found), "sound")

    @property
    def headline(self) -> str:
        """The result in one line."""
        state = self.state
        if state == "sound":
            return "tables are sound: " + ", ".join(f"{count} {name}" for name, count in self.rows.items())
        worst = [finding for finding in self.findings if finding.state == state]
        kinds = ", ".join(f"{finding.table}: {finding.count} {finding.kind}" for finding in worst[:3])
        more = f" and {len(worst) - 3} kinds more" if len(worst) > 3 else ""
        return f"{_HEADLINES[state]}: {kinds}{more}"

    def text(self) -> str:
        """The report as text for a terminal: the headline, a line per finding, and the notes."""
        return "\n".join([self.headline, *map(str, self.findings), *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        findings = [asdict(finding) for finding in self.findings]
        return {"ok": self.ok, "state": self.state, "headline": self.headline} | asdict(self) | {"findings": findings}


def verify(home: Home, settings: Settings = _DEFAULT, encoder_path: str | Path | None = None) -> VerifyReport:
    """Check all tables of a home.

    Args:
        home: Home of the tables.
        settings: `settings.factor` selects the values to compute again, those made with it. Patterns are checked under
            the settings that their table records.
        encoder_path: Weights that made the patterns, which tell the length of a vector, or a folder with those of each
            year; None for the default ones.

    Raises:
        EncoderError: The weights cannot be read.
    """
    ledger = Ledger()
    names = table_names(home)
    tables, versions = _read(home, names, ledger)
    rows = {name: table.num_rows for name, table in tables.items() if name in versions}
    for name in tables:
        if bare := home.unchecked(name, versions[name]) if name in versions else []:
            ledger.notes.append(
                f"{len(bare)} files of {name} have no checksum, such as {bare[0]}: they were taken as they are; the "
                "next write to the table gives them one"
            )
    ledger.notes += _damaged_cache(home)
    damaged = check_bars(tables["bars"], ledger) if "bars" in tables else []
    weights = _Weights.of(encoder_path)
    sources = []
    for name in [name for name in names if kind_of(name) == "patterns"]:
        expected, encoder = _check_patterns(home, name, tables, versions, damaged, settings.patterns, weights, ledger)
        sources.append((expected, encoder))
    if "members" in tables:
        check_members(tables["members"], ledger)
    if "factors" in tables and "matches" in tables:
        joined = check_rows(tables["factors"], tables["matches"], ledger)
        check_many(joined, ledger)
        whys = [_why_not_again(expected, damaged, settings) for expected, _ in sources]
        usable = [
            (expected, Settings(expected.settings, settings.factor), encoder)
            for (expected, encoder), why in zip(sources, whys, strict=True)
            if expected is not None and why is None
        ]
        if usable:
            check_values(joined, usable, ledger)
        else:
            check_win_rates(joined, joined.ok, ledger)
            ledger.notes.append(f"values were checked by themselves only, because {whys[0]}")
    return VerifyReport(ledger.findings, ledger.notes, rows, versions)


def _damaged_cache(home: Home) -> list[str]:
    """Notes on the parts of the index cache that are not what was written; no value depends on them."""
    if home.folder is None:
        return []
    parent, notes = home.folder / INDEX_CACHE, []
    for name in array_folders(parent):
        try:
            read_arrays(parent / name)
        except FileNotFoundError:
            continue
        except (DamagedArraysError, OSError, ValueError, KeyError) as error:
            notes.append(f"{INDEX_CACHE}/{name} is damaged ({one_line(error)}); no value depends on it, remove it")
    return notes


@dataclass(frozen=True, slots=True)
class _Weights:
    """Weights that the caller names: the fingerprint of each, and what vectors they make."""

    fingerprints: list[str]
    dim: int
    """Length of their vectors."""

    @classmethod
    def of(cls, encoder: str | Path | None) -> Self:
        """Those of an encoder, or of a folder with one for each year. Raises `EncoderError`."""
        if (folder := YearFolder.of(encoder)) is None:
            return cls([weights_fingerprint(encoder)], weights_shape(encoder)[0])
        return cls(list(folder.fingerprints.values()), weights_shape(folder.weights(max(folder.fingerprints)))[0])


def _check_patterns(
    home: Home,
    name: str,
    tables: dict[str, pa.Table],
    versions: dict[str, int],
    damaged: list[str],
    usual: PatternSettings,
    weights: _Weights,
    ledger: Ledger,
) -> tuple[Expected | None, str]:
    """Check one table of patterns; what follows from the bars under its settings, if known, and its encoder.

    `usual`: the settings of a table that was never made.
    """
    made = home.description(name, versions[name]) if name in versions and name in tables else None
    steps = usual if made is None else _made_with(home, name, made, tables[name], ledger)
    encoder = weights.fingerprints[-1] if made is None else made.get("encoder")
    if "bars" not in tables or steps is None or (made is None and name != FIRST):
        return None, str(encoder)
    expected = Expected.of(_without(tables["bars"], damaged), steps, released(home.notes(versions["bars"])))
    if name in tables:
        dim = weights.dim * len(steps.scales) if encoder in weights.fingerprints else None
        stored = tables[name] if made is not None else table_schema("patterns", steps.horizons).empty_table()
        source = update_source(home, name, versions.get(name))
        older = _as_of_update(home, source, versions["bars"], damaged, steps, ledger)
        compare_with_bars(_without(stored, damaged), older or expected, dim, ledger, source.left, name)
        if older is not None:
            note_pending(_without(stored, damaged), expected, ledger, name)
    return expected, str(encoder)


def _read(home: Home, names: list[str], ledger: Ledger) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """All readable tables, empty ones for tables never made, and the versions of the existing ones."""
    tables: dict[str, pa.Table] = {}
    versions: dict[str, int] = {}
    try:
        pinned = values_with_matches(home)
    except HomeError:
        # The loop below finds which of the two it is.
        pinned = {}
    for name in derived_first(names):
        try:
            if name == "factors":
                check_not_lost(home)
            version = pinned[name] if name in pinned else home.version(name)
            tables[name] = home.read(name, version=version)
            if version is not None:
                versions[name] = version
        except HomeError as error:
            reason = str(error).rsplit("; ", 1)[0]
            remedy = remedy_of(UNREADABLE, name)
            ledger.findings.append(Finding(name, "table that cannot be read", 1, reason, remedy))
    return {name: tables[name] for name in names if name in tables}, versions


def _as_of_update(
    home: Home, source: UpdateSource, newest: int, damaged: list[str], steps: PatternSettings, ledger: Ledger
) -> Expected | None:
    """What the bars gave that the patterns were last brought up to date with; None if these are the newest.

    Without any update, those of no bars: all windows are pending.
    """
    if source.bars == newest:
        return None
    if source.bars is None:
        return Expected.of(home.read("bars", version=newest).slice(0, 0), steps, {}) if source.never else None
    try:
        bars, releases = home.read("bars", version=source.bars), released(home.notes(source.bars))
    except HomeError as error:
        ledger.notes.append(f"patterns were compared with the newest bars only, because of this: {error}")
        return None
    return Expected.of(_without(bars, damaged), steps, releases)


def _made_with(
    home: Home, name: str, made: dict[str, Any], patterns: pa.Table, ledger: Ledger
) -> PatternSettings | None:
    """Settings of the patterns, from their table's description; None, and a finding, if nothing can be made of it."""
    try:
        steps = PatternSettings.from_dict(made["settings"])
        # Method 1 did not say so.
        method = made.get("method", 1)
        wrong = made["fingerprint"] != pattern_fingerprint(steps, made["encoder"], method)
        if wrong or not {f"r{horizon}" for horizon in steps.horizons} <= set(patterns.column_names):
            raise SettingError(f"fingerprint {made['fingerprint']}, columns {', '.join(patterns.column_names)}")
    except (KeyError, TypeError, SettingError) as error:
        kind = "description that does not fit the table, or was written by another version"
        ledger.findings.append(Finding(name, kind, 1, f"{type(error).__name__}: {error}", REBUILD))
        return None
    if method != METHOD:
        kind = f"tables that method {method} made, and this version's is {METHOD}"
        ledger.findings.append(Finding(name, kind, 1, home.uri, ANEW, PENDING))
        return None
    return steps


def _why_not_again(expected: Expected | None, damaged: list[str], settings: Settings) -> str | None:
    """Why no value can be computed again from its matches; None if values can."""
    if damaged:
        return f"the bars of {abbreviated(damaged)} are damaged"
    if expected is None:
        return "bars or the settings of the patterns are not known"
    if settings.factor.return_horizon not in expected.settings.horizons:
        return f"the patterns have no returns over {settings.factor.return_horizon} bars"
    return None


def _without(table: pa.Table, symbols: list[str]) -> pa.Table:
    if not symbols:
        return table
    return table.filter(pc.invert(pc.is_in(table["symbol"].cast(pa.string()), value_set=pa.array(symbols))))
