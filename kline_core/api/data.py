"""Ingest of bars, update of patterns, verification of tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kline_core._text import refusal
from kline_core.encoder.year_folder import YearFolder
from kline_core.errors import InputError, SettingError
from kline_core.settings import PatternSettings, Settings
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.bars.ingest_report import IngestReport
    from kline_core.bars.readers.frame import Frame
    from kline_core.compute.cluster import Cluster
    from kline_core.maintenance.verify import VerifyReport
    from kline_core.patterns.update import PatternsUpdate

Count = Callable[[int, int], None]
"""Progress callback: called with the amount that is done, and the total."""


def as_home(home: Home | str | Path, create: bool = False) -> Home:
    """The home itself, or the home at that folder or URL. Raises `HomeError`."""
    return home if isinstance(home, Home) else Home(home, create=create)


def ingest(
    home: Home | str | Path,
    sources: "str | Path | Frame | Iterable[str | Path | Frame]",
    *,
    progress: bool | Count = False,
    max_file_bytes: int | None = None,
    columns: Mapping[str, str] | None = None,
    keep_columns: bool = False,
    market: str | None = None,
) -> "IngestReport":
    """Bring bars into a home, every row accounted for: ``read == stored_new + updated + unchanged + rejected``.

    The result reports files that cannot be used; the others still go in, all in one commit. Rows that are stored
    already change nothing.

    Args:
        home: A home, or the folder or URL of one, which is made if it is missing.
        sources: A file, a folder that is searched at every depth, a pandas DataFrame, or an object with the Arrow
            PyCapsule interface, such as a polars DataFrame or a DuckDB relation; or several of them. Columns are those
            of a vendor's layout, or of the plain one: symbol, date, open, high, low, close, volume, and perhaps amount
            and adj_factor, a cumulative backward factor (hfq) for raw prices. Days are the exchange's; a moment with a
            time zone is the day at the exchange.
        progress: True shows a bar on standard error; a function is called with the sources read and the total.
        max_file_bytes: Bytes that a file may hold, unpacked, at least 1; one that holds more is reported and not used.
            None for 2 GiB.
        columns: Names of columns by their meaning, such as ``{"date": "Datum", "close": "Schluss"}``, for sources in no
            layout that is known. Columns with the names of the plain layout need no mention.
        keep_columns: Keep `columns` with the home, in the place of those before: later calls use them for a source that
            no layout fits and that has all these columns.
        market: Country whose exchanges the home is of, such as CN or US, kept with it; None for the one that is kept,
            or that the first symbols are of. Symbols of other markets are rejected.

    Returns:
        What became of every row: counts, and one line for each rejected row in ``.rejections``.

    Raises:
        NothingUsableError: No row can be used; it carries the report.
        InputError: A path is empty or does not exist, or there is nothing to read.
        SettingError: `max_file_bytes` is out of bounds, `columns` maps no meanings to names of columns, or there is no
            such market, or the home is of another one.
        HomeError: The home cannot be made, read or written.

    Examples:
        >>> stocks = kl.load_us_stocks()
        >>> report = kl.ingest(folder / "my-home", stocks[stocks["symbol"] == "FB"])
        >>> report.read, report.stored_new, report.rejected
        (196, 196, 0)
    """
    from kline_core.bars.home_market import named_market
    from kline_core.bars.ingest import ingest as ingest_sources
    from kline_core.bars.named_columns import check_columns
    from kline_core.bars.named_columns import keep_columns as keep
    from kline_core.bars.quality import with_quality
    from kline_core.bars.readers.contents import MAX_FILE_BYTES
    from kline_core.bars.readers.frame import is_frame

    def one_source(value: object) -> bool:
        return isinstance(value, str | Path) or is_frame(value)

    given: list[Any] = list(sources) if isinstance(sources, Iterable) and not one_source(sources) else [sources]
    for source in given:
        if isinstance(source, str) and not source.strip():
            raise InputError(f"{source!r} is no path; name a file or a folder, . for the current one", value=source)
    listed = [Path(source) if isinstance(source, str | Path) else source for source in given]
    for source in listed:
        if not isinstance(source, Path) and not is_frame(source):
            raise InputError(
                f"{source!r} is neither a path nor a frame; give files, folders, a DataFrame, or an object with the "
                "Arrow PyCapsule interface",
                value=source,
            )
    if columns is not None:
        check_columns(columns)
    elif keep_columns:
        raise SettingError(
            "keep_columns keeps the columns that are named by hand, and none are; name them with columns (--columns)",
            parameter="keep_columns",
            value=keep_columns,
        )
    check_paths([source for source in listed if isinstance(source, Path)])
    store = as_home(home, create=True)
    most = MAX_FILE_BYTES if max_file_bytes is None else max_file_bytes
    with shown(progress, "ingest", " files") as told:
        report = ingest_sources(listed, store, told, most, columns, None if market is None else named_market(market))
    if keep_columns:
        keep(store, columns)
    return with_quality(report, store)


def check_paths(paths: Sequence[Path]) -> None:
    """Raise `InputError` for the first path that does not exist, or that nobody may look at."""
    for path in paths:
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise InputError(f"{path} does not exist; name files or folders that do", source=str(path)) from error
        except OSError as error:
            raise InputError(
                f"{path} cannot be looked at ({refusal(error)}); name files or folders that can be read",
                source=str(path),
            ) from error


def symbol_names(symbols: str | Iterable[str] | None) -> list[str] | None:
    """Symbols as a list, a single one too; None for all."""
    if symbols is None:
        return None
    return [symbols] if isinstance(symbols, str) else [str(symbol) for symbol in symbols]


def check_settings(settings: object, kind: type) -> None:
    """Raise `SettingError` for settings of another group."""
    if not isinstance(settings, kind):
        raise SettingError(
            f"settings is {type(settings).__name__}; it must be {kind.__name__}", parameter="settings", value=settings
        )


def update_patterns(
    home: Home | str | Path,
    *,
    settings: PatternSettings = PatternSettings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    cluster: "Cluster | None" = None,
    rebuild: bool = False,
    max_removed_share: float = 0.2,
    progress: bool | Count = False,
) -> "PatternsUpdate":
    """Bring the patterns of a home up to date with its bars: render and encode the windows whose outcome became known.

    .. warning::
        A pattern is a window *and* what followed it, up to `PatternSettings.outcome_bars` bars later. That is no
        look-ahead: a sample sees a pattern only from the day on which all of its outcome was known (``known_on``).
        `entry_lag_bars` says how many bars after its window a trade is entered; at 1, the least, it is the close of the
        next bar, which nobody knew when the window closed.

    Args:
        home: A home, or the folder or URL of one.
        settings: What a window is, what counts as its outcome, and which windows become patterns.
        encoder: Weights written by ``kline train``; None for the bundled ones, trained on synthetic charts only. A
            folder of ``kline train --market``: patterns of each year's encoder, each in a table of their own.
        device: auto, cpu, cuda, mps or onnx.
        threads: Threads that encode in this process; None for one per core, at most 16.
        cluster: A cluster whose workers encode instead of this process's threads.
        rebuild: Make all patterns again, with the given settings and encoder.
        max_removed_share: Share of the stored patterns, 0..1, that may be removed for good, because their bars are no
            longer there. Patterns that are made again, after a restatement or a rebuild, do not count.
        progress: True shows a bar on standard error; a function is called with the windows encoded and the total. A
            cluster reports none. With an encoder for each year there is one for each.

    Raises:
        FingerprintError: The stored patterns were made with other settings or another encoder.
        EncoderError: The weights cannot be read, or take windows of another length.
        SettingError: `threads` or `max_removed_share` is out of bounds.
        RemovalError: More than `max_removed_share` of the patterns would be removed; nothing was changed.
        HomeError: The home is missing, or cannot be read or written.

    Examples:
        >>> kl.update_patterns(home).total
        6460
    """
    store = as_home(home)
    check_settings(settings, PatternSettings)
    if (folder := YearFolder.of(encoder)) is not None:

        def of_year(year: int, again: bool) -> "PatternsUpdate":
            with shown(progress, f"index {year}", " windows") as told:
                return update_patterns(
                    store,
                    settings=settings,
                    encoder=folder.weights(year),
                    device=device,
                    threads=threads,
                    cluster=cluster,
                    rebuild=again,
                    max_removed_share=max_removed_share,
                    progress=told or False,
                )

        return _updated_by_year(store, settings, folder, rebuild, of_year)
    if cluster is not None and not rebuild:
        return cluster.update_patterns(store, settings, encoder, device, max_removed_share)
    from kline_core._cache import loaded
    from kline_core.compute.opening import checked_threads
    from kline_core.encoder.encoder_cache import EncoderKey
    from kline_core.patterns.encode import LocalWindowEncoder
    from kline_core.patterns.update import update_patterns as update

    count = checked_threads(threads)
    encoding = (
        cluster.encoding(encoder, device)
        if cluster is not None
        else LocalWindowEncoder(loaded(EncoderKey.of(encoder, device)), count)
    )
    with shown(progress, "index", " windows") as told:
        return update(store, settings, encoding, rebuild=rebuild, progress=told, max_removed_share=max_removed_share)


def _updated_by_year(
    home: Home,
    settings: PatternSettings,
    folder: YearFolder,
    rebuild: bool,
    update: "Callable[[int, bool], PatternsUpdate]",
) -> "PatternsUpdate":
    """Update the patterns of each year's encoder, until all are of the same bars.

    `update`: called with a year, and whether its patterns are rebuilt.
    """
    from kline_core.patterns.pattern_table import has_patterns
    from kline_core.patterns.update import PatternsUpdate

    found: dict[int, PatternsUpdate] = {}
    # Bars may come while the patterns of other years are made.
    while len({each.bars for each in found.values()}) != 1:
        for year, fingerprint in folder.fingerprints.items():
            before = found.get(year)
            # What no table holds yet would replace patterns of others.
            report = update(year, rebuild and before is None and has_patterns(home, settings, fingerprint))
            if before is not None:
                report = replace(report, added=before.added + report.added, removed=before.removed + report.removed)
            found[year] = report
    return PatternsUpdate.of_years(found)


def verify(
    home: Home | str | Path,
    *,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
) -> "VerifyReport":
    """Check every table of a home against the others. Changes nothing.

    Args:
        home: A home, or the folder or URL of one.
        settings: `settings.factor` selects the values that are computed again, those made with it.
        encoder: Weights that the patterns were made with; None for the bundled ones.

    Raises:
        HomeError: The home is missing.
        EncoderError: The weights cannot be read.

    Examples:
        >>> kl.verify(home).ok
        True
    """
    from kline_core.maintenance.verify import verify as check

    check_settings(settings, Settings)
    return check(as_home(home), settings, encoder)


def shown(progress: bool | Count, what: str, unit: str) -> Any:
    """A context that yields the progress callback, or None."""
    if progress is True:
        from kline_core.compute.progress_bar import bar

        return bar(what, unit)
    return nullcontext(progress or None)
