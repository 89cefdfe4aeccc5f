"""The step that brings bars into the home, until those of the session have arrived.

It waits by itself, within one task run: Prefect's retries would log each look as a failure, and a cancellation between
two of them as a crash.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.common.ending import cancellable
from flows.steps.waiting import Follow, WaitNotice
from kline_core._logging import listening
from kline_core._text import abbreviated
from kline_core.api.data import ingest
from kline_core.api.fetch import fetch
from kline_core.api.quality import check
from kline_core.bars.arrivals import Arrivals, arrivals
from kline_core.bars.ingest_report import IngestReport
from kline_core.bars.quality_report import QualityReport
from kline_core.bars.sessions import TradingDay
from kline_core.compute.request import known_symbols
from kline_core.errors import BarsMissingError, InputError, SourceError
from kline_core.sources.fetch_report import FAILED
from kline_core.sources.registry import is_live
from kline_core.store.home import Home

_REASONS_SHOWN = 3
_LAST_WEEKS = np.timedelta64(28, "D")


@dataclass(frozen=True, slots=True)
class BarsInfo:
    """Result of a refresh."""

    ingested: IngestReport | None
    """None if no source was named, or nothing came from it."""
    arrived: Arrivals | None
    """None if no calendar was named."""
    quality: QualityReport | None = None
    """Quality of the bars that came, or else of those of the last weeks; None if neither was asked for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long bars of a session are waited for."""

    looks: int = 0
    """After the first one."""
    seconds: float = 0.0
    """Between two looks."""
    key: str = "waiting"
    """Of the artifact that tells of the wait."""
    follow: Follow | None = None
    """Told of that artifact, see `WaitNotice`."""


@task(task_run_name="refresh bars", cache_policy=NO_CACHE)
@cancellable
def refresh_bars(
    home: Home,
    source: str | None,
    session: TradingDay | None,
    max_missing_share: float,
    patience: Patience = Patience(),
    symbols: Sequence[str] | None = None,
) -> BarsInfo:
    """Fetch from a live source, or ingest the files of a folder, and check that the bars of the session have arrived.

    Looks again while they have not, as long as `patience` lasts. Where `symbols` are chosen, their bars alone are
    waited for and checked. Raises `BarsMissingError` if they have not arrived then, `InputError` if no file can be
    used, `SourceError` if nothing could be fetched, and as `known_symbols` at once.
    """
    if session is None:
        return _looked(home, source, None, max_missing_share, symbols)
    noun = "symbols" if symbols is None else "chosen symbols"
    with WaitNotice(session, source, patience.key, noun, patience.follow) as notice:
        info = _awaited(lambda: _looked(home, source, session, max_missing_share, symbols), patience, notice)
        assert info.arrived is not None, "a session was asked for"
        notice.arrived(info.arrived)
    return info


def _awaited(look: Callable[[], BarsInfo], patience: Patience, notice: WaitNotice) -> BarsInfo:
    for left in range(patience.looks, 0, -1):
        try:
            return look()
        except (BarsMissingError, InputError, SourceError) as error:
            # What is missing may still be delivered, and a vendor answer.
            notice.say(error, left, patience.seconds)
        time.sleep(patience.seconds)
    return look()


def _looked(
    home: Home, source: str | None, session: TradingDay | None, max_missing_share: float, symbols: Sequence[str] | None
) -> BarsInfo:
    taken = None
    if source is not None:
        taken = _fetch(home, source) if is_live(source) else _take_in(home, source)
    if session is None:
        return BarsInfo(taken, None, None if taken is None else _checked(taken.quality))
    chosen = None if symbols is None else _chosen(home, symbols)
    found = arrivals(home, session.calendar, session.day, chosen)
    found.check_calendar()
    found.check(max_missing_share)
    logger = get_run_logger()
    if found.missing:
        logger.warning(
            "%d of %d %s have no bar of %s: %s",
            *(len(found.missing), found.expected, found.noun, session.day, abbreviated(found.missing)),
        )
    else:
        logger.info("all %d %s have a bar of %s", found.expected, found.noun, session.day)
    if chosen is not None and not found.expected:
        # They have no bars of the last weeks, whose quality could be told.
        return BarsInfo(taken, found)
    came = None if taken is None or chosen is not None else taken.quality
    return BarsInfo(taken, found, _checked(came or check(home, chosen, first=session.day - _LAST_WEEKS)))


def _chosen(home: Home, symbols: Sequence[str]) -> list[str]:
    """Chosen symbols as the home knows them; as they were typed while it holds no bars, which are waited for."""
    known = home.symbols()
    return known_symbols(home, symbols, known) if known else list(symbols)


def _checked(quality: QualityReport | None) -> QualityReport | None:
    if quality is not None and quality.problems:
        get_run_logger().warning("%s; the artifact on quality lists them", quality.headline)
    return quality


def _take_in(home: Home, source: str) -> IngestReport:
    logger = get_run_logger()
    with listening(logger.log):
        report = ingest(home, source)
    _say_rows(source, report)
    for line in report.errors:
        logger.warning("not used: %s", line)
    for line in report.left_out:
        logger.warning("left out: %s", line)
    return report


def _fetch(home: Home, source: str) -> IngestReport | None:
    logger = get_run_logger()
    with listening(logger.log):
        report = fetch(home, source)
    for line in report.lines():
        logger.log(logging.WARNING if line.startswith(FAILED) else logging.INFO, "%s", line)
    if report.bars is not None:
        _say_rows(source, report.bars)
    return report.bars


def _say_rows(source: str, report: IngestReport) -> None:
    logger = get_run_logger()
    logger.info(
        "%d rows read from %s: %d new, %d updated, %d stored already, %d rejected",
        *(report.read, source, report.stored_new, report.updated, report.unchanged, report.rejected),
    )
    if report.rejected:
        counts = report.rejections["reason"].value_counts().head(_REASONS_SHOWN)
        logger.warning(
            "%d rows rejected, most often: %s",
            report.rejected,
            "; ".join(f"{reason} ({count})" for reason, count in counts.items()),
        )
