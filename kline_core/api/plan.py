"""What a market costs on this machine, before anything is done: see `kline_core.planning`."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from kline_core._cores import CORE_COUNT
from kline_core._processor import processor
from kline_core._setting_types import check
from kline_core.api.data import as_home
from kline_core.bars.bars_cache import BarsKey
from kline_core.compute.request import Request
from kline_core.encoder.weights import weights_fingerprint
from kline_core.encoder.year_folder import one_encoder
from kline_core.errors import HomeError, SettingError
from kline_core.patterns.pattern_table import pattern_table
from kline_core.planning.extent import Extent, check_years
from kline_core.planning.plan import GB, Plan
from kline_core.planning.projection import batch, check_shards, jobs, memory_of
from kline_core.planning.rates import Rehearsal
from kline_core.planning.rehearsal import PATTERNS, rehearse, table_bytes
from kline_core.settings import Settings, pattern_fingerprint
from kline_core.store.home import Home

_LARGEST_BATCH = 1024
"""A larger batch costs no less a sample."""


def plan(
    home: Home | str | Path | None = None,
    *,
    symbols: int | None = None,
    years: float | None = None,
    samples: int = 600,
    within: float | None = None,
    memory: float | None = None,
    shards: int | None = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    rehearsed: int | None = None,
) -> Plan:
    """Count what a home or a market holds, measure for some seconds, and project what the jobs on it take.

    Args:
        home: Home whose bars are counted; None for a market of so many `symbols`. Nothing is written to it.
        symbols: Symbols of a market without a home, each with a bar on every session.
        years: Years of that market's history; with a home, those of the backfill, all by default.
        samples: Samples of a symbol in the first run.
        within: Seconds for which the needed workers are counted.
        memory: Gigabytes (10^9 bytes) that a worker may have.
        shards: Shards that vectors lie in, each on a worker of its own; None or 1 if every worker holds all. Memory is
            that of one of them; seconds are those of a worker that holds all.
        settings: What patterns and values are.
        encoder: Weights' file; None for the default ones.
        device: Device of the encoder.
        threads: Threads of a worker; None for one a core.
        rehearsed: Patterns of the market that is measured; None for `PATTERNS`.

    Raises:
        SettingError: A number is out of bounds, neither home nor symbols are given, or an approximate index is.
        HomeError: The home cannot be read, or holds no bars.

    Raises what `Extent.of` and `rehearse` raise, too.
    """
    _check(years, within, memory, shards, settings)
    encoder = one_encoder(encoder, "a plan")
    Request(samples=samples)
    store = None
    if home is not None:
        store = as_home(home)
        # Not held, since the memory of this process is measured.
        frames = BarsKey.newest(store).load().frames
        if not any(map(len, frames.values())):
            raise HomeError(
                f"home {store.uri} holds no bars to plan for; ingest some, or give symbols and years", home=store.uri
            )
        extent = Extent.of(frames, settings.patterns, samples, years)
        del frames
    elif symbols is None or years is None:
        raise SettingError(
            "neither a home nor a market is named; give --home FOLDER, or --symbols N and --years Y",
            parameter="symbols" if symbols is None else "years",
        )
    else:
        today = np.datetime64(datetime.now(UTC).date(), "D")
        extent = Extent.of_market(symbols, years, today, settings.patterns, samples)
    busy = psutil.getloadavg()[0]
    at_once = min(threads or CORE_COUNT, CORE_COUNT)
    daily, many = (min(_LARGEST_BATCH, batch(each, at_once)) for each in (extent.daily, extent.first))
    rates = rehearse(settings, (daily, many), encoder, device, threads, PATTERNS if rehearsed is None else rehearsed)
    may_have = None if memory is None else memory * GB
    return Plan(
        home=None if store is None else store.uri,
        extent=extent,
        stride=settings.patterns.pattern_stride,
        memory=memory_of(extent, rates, may_have, shards or 1),
        disk=_disk(store, extent, rates, settings, encoder),
        jobs=jobs(extent, rates),
        rehearsal=rates,
        processor=processor(),
        load_average=busy,
        cores=CORE_COUNT,
        within=within,
        may_have=may_have,
    )


def _check(
    years: float | None, within: float | None, memory: float | None, shards: int | None, settings: Settings
) -> None:
    if years is not None:
        check_years(years)
    for name, value in (("within", within), ("memory", memory)):
        check(value is None or (math.isfinite(value) and value > 0), name, value, "a finite number above 0")
    if shards is not None:
        check_shards(shards)
    index = settings.factor.index
    check(index == "exact", "index", index, "exact: what an approximate one takes is not projected")


def _disk(
    home: Home | None, extent: Extent, rates: Rehearsal, settings: Settings, encoder: str | Path | None
) -> dict[str, int]:
    bars, patterns = rates.bars_disk.at(extent.bars), rates.patterns_disk.at(extent.patterns)
    if home is not None:
        bars = table_bytes(home, "bars")
        fingerprint = weights_fingerprint(encoder)
        table = pattern_table(home, settings.patterns, fingerprint)
        made = home.description(table).get("fingerprint") == pattern_fingerprint(settings.patterns, fingerprint)
        if made and home.row_count(table) == extent.patterns:
            patterns = table_bytes(home, table)
    return {
        "bars": round(bars),
        "patterns": round(patterns),
        "values of the first run": round(rates.values_disk.at(extent.first.samples)),
        "values of the backfill": round(rates.values_disk.at(extent.backfill.samples)),
    }
