"""What `tests.benchmarks.scale` measures; each function runs in a process of its own and answers with plain values."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from kline_core._cache import hold
from kline_core._threads import single_threaded
from kline_core.bars.arrivals import arrivals
from kline_core.bars.bars_cache import BarsKey, LoadedBars
from kline_core.bars.ingest import ingest
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.synthetic import synthetic_market
from kline_core.evaluation.session_change import session_change
from kline_core.factor.state import loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.factor.stored_values import latest_values, ranking
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.mapped_vectors import MappedVectors
from kline_core.patterns.patterns import Patterns
from kline_core.patterns.update import SLICE, update_patterns
from kline_core.search.candidates import Queries
from kline_core.search.disk_index import DiskIndex
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.store.mapping import map_file
from tests.benchmarks.market import CALENDAR, Market, linked
from tests.support.bench import batch_of


class StageClock:
    """Seconds by the clock, seconds of all threads, and the process's peak of memory so far, by step."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.steps[name] = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "peak": peak_megabytes(),
        }


def peak_megabytes() -> float:
    """Highest resident memory of this process so far; `getrusage` would count the parent's before the start."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def daily(folder: str, market: Market, threads: int, warm: bool) -> dict[str, Any]:
    """One more bar of every symbol: what the flow `daily` does, without Prefect, after `day_before`.

    `warm`: the process has the state of the day before loaded, as a standing cluster's worker has.
    """
    home, file = Path(folder) / "copy", Path(folder) / "day.csv"
    clock, store, settings = StageClock(), Home(home), market.settings
    day = market.sessions[-1]
    with open_cluster(threads=threads) as cluster:
        if warm:
            cluster.load(StateKey.newest(store, settings))
        with clock.step("ingest"):
            taken = ingest([file], store)
            arrivals(store, CALENDAR, day).check(0.05)
        with clock.step("extend"):
            extended = cluster.update_patterns(store, settings.patterns)
        with clock.step("load"):
            run = Run(store, cluster, StateKey.newest(store, settings), Request(samples=1, as_of=day))
        with clock.step("score"):
            report = run_symbols(run)
        with clock.step("publish"):
            latest = latest_values(store, run.symbols, report.fingerprint, day)
            change = session_change(store, report.fingerprint, run.symbols, day)
            ranked = ranking(latest)
    assert taken.stored_new == market.symbols == extended.added, (taken.stored_new, extended)
    assert report.count("done") == market.symbols == change.compared == len(latest), report.to_dict()
    assert change.day == day
    assert len(ranked) == min(40, market.symbols)
    return {
        "steps": clock.steps,
        "stages": report.seconds,
        "loading": run.overview.seconds,
        "threads": threads,
        "patterns": report.n_patterns,
        "peak": peak_megabytes(),
    }


def encode(windows: int, threads: int, device: str) -> dict[str, Any]:
    """Windows drawn and encoded from prices in memory, per second."""
    frames = bars_by_symbol(synthetic_market(200, 500, 0).to_frame().assign(adj_factor=1.0, suspended=False))
    known = build_catalogue(frames, PatternSettings())
    known = known.take(np.arange(min(windows, len(known))))
    encoding = LocalWindowEncoder(Encoder.load(device=device), threads)
    bars = BarsKey("nowhere", None, None)
    settings = PatternSettings()
    hold(bars, LoadedBars(frames, None, frozenset(), {}))
    encoding.vectors(bars, known.take(np.arange(2 * SLICE)), settings)
    started = time.perf_counter()
    encoding.vectors(bars, known, settings)
    return {"windows": len(known), "rate": len(known) / (time.perf_counter() - started), "peak": peak_megabytes()}


def index(folder: str, market: Market, threads: int) -> dict[str, Any]:
    """All patterns of a home made anew, per second."""
    home = Home(linked(Path(folder) / "home", Path(folder) / "copy"))
    with open_cluster(threads=threads) as cluster:
        started = time.perf_counter()
        made = update_patterns(home, market.settings.patterns, cluster.encoding(), rebuild=True)
        seconds = time.perf_counter() - started
    return {"windows": made.total, "rate": made.total / seconds, "peak": peak_megabytes()}


def backfill(folder: str, market: Market, threads: int, symbols: int, samples: int) -> dict[str, Any]:
    """Samples of some symbols; loading apart. Of each the newest is stored already and re-used."""
    home = Home(linked(Path(folder) / "home", Path(folder) / "copy"))
    names = [f"S{number:05d}" for number in range(symbols)]
    with open_cluster(threads=threads) as cluster:
        run = Run(home, cluster, StateKey.newest(home, market.settings), Request(names, samples))
        started = time.perf_counter()
        report = run_symbols(run)
        seconds = time.perf_counter() - started
    work = sum(report.seconds[name] for name in ("render", "encode", "search", "factor"))
    return {
        "samples": report.count("samples"),
        "seconds": seconds,
        "rate": report.count("samples") / seconds,
        "overhead": 1 - work / (seconds * threads),
        "patterns": report.n_patterns,
        "stages": report.seconds,
        "peak": peak_megabytes(),
    }


def search_time(folder: str, market: Market, patterns: int, samples: int) -> dict[str, Any]:
    """Samples of one date against so many patterns: those of the home, and beyond these, slightly changed copies."""
    home = Home(Path(folder) / "home")
    stored = loaded_state(StateKey.newest(home, market.settings)).patterns
    copies = -(-patterns // len(stored))
    rng = np.random.default_rng(0)
    vectors = np.tile(stored.vectors, (copies, 1))[:patterns]
    changed = vectors[len(stored) :]
    changed += rng.normal(0, 0.02, changed.shape).astype(np.float32)
    changed /= np.linalg.norm(changed, axis=1, keepdims=True)
    symbols, code, columns = _copied(stored, np.arange(patterns))
    many = Patterns.from_codes(symbols, code, vectors=vectors, **columns)
    flat = FlatIndex.build(many)
    del vectors, changed, columns
    single_threaded()
    chosen = rng.choice(len(stored), samples, replace=False)
    queries = _asked(np.ascontiguousarray(stored.vectors[chosen]), np.full(samples, many.known_on[-1]))
    started = time.perf_counter()
    search(flat, many, queries, market.settings.factor, market.settings.patterns.window_bars)
    return {"patterns": patterns, "seconds": time.perf_counter() - started, "peak": peak_megabytes()}


def vectors_on_disk(folder: str, market: Market, patterns: int) -> dict[str, Any]:
    """Write vectors for `search_on_disk` into a file, and what belongs to them into others, unless they are there.

    Each vector of the home v comes as v + 0.3 (u - w) with others u and w, so that copies lie as far apart as charts.
    """
    place = Path(folder) / f"disk-{patterns}"
    if not (place / "order.npy").exists():
        place.mkdir(exist_ok=True)
        stored = loaded_state(StateKey.newest(Home(Path(folder) / "home"), market.settings)).patterns
        _, code, columns = _copied(stored, np.arange(patterns))
        order = np.lexsort((columns["end"], code, columns["known_on"]))
        rng = np.random.default_rng(0)
        with (place / "vectors").open("wb") as file:
            for start in range(0, patterns, 1 << 18):
                row = order[start : start + (1 << 18)]
                other = rng.integers(len(stored), size=(2, len(row)))
                made = stored.vectors[row % len(stored)]
                far = row >= len(stored)
                made[far] += np.float32(0.3) * (stored.vectors[other[0, far]] - stored.vectors[other[1, far]])
                made /= np.linalg.norm(made, axis=1, keepdims=True)
                made.tofile(file)
        np.save(place / "order.npy", order)
    return {}


def search_on_disk(folder: str, market: Market, patterns: int, samples: int, threads: int) -> dict[str, Any]:
    """Samples that may see half of so many patterns on average, whose vectors lie in a file; see `vectors_on_disk`."""
    place = Path(folder) / f"disk-{patterns}"
    home = Home(Path(folder) / "home")
    stored = loaded_state(StateKey.newest(home, market.settings)).patterns
    order = np.load(place / "order.npy")
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(len(stored), samples, replace=False))
    asked = np.ascontiguousarray(stored.vectors[chosen])
    mapped = map_file(place / "vectors").view(np.float32).reshape(patterns, -1)
    vectors = MappedVectors(mapped, mapped[:0])
    symbols, code, columns = _copied(stored, order)
    many = Patterns.from_codes(symbols, code, vectors=vectors, **columns)
    del stored, columns, order, code
    started = time.process_time()
    index = DiskIndex.build(vectors)
    rounding = time.process_time() - started
    single_threaded()
    dates = np.quantile(many.known_on.astype(np.int64), np.linspace(0, 1, samples)).astype("datetime64[D]")

    def part(number: int) -> None:
        # Every so-manieth, so that all threads have as much to see.
        queries = _asked(asked[number::threads], dates[number::threads])
        search(index, many, queries, market.settings.factor, market.settings.patterns.window_bars)

    results = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, range(threads)))
        results.append((time.perf_counter() - wall, time.process_time() - cpu))
    first, best = results[0], min(results)
    return {
        "patterns": patterns,
        "threads": threads,
        "rounding cpu": rounding,
        "first": first[0],
        "seconds": best[0],
        "cpu": best[1],
        "peak": peak_megabytes(),
    }


def _copied(stored: Patterns, number: np.ndarray[Any, Any]) -> tuple[list[str], Any, dict[str, Any]]:
    """Symbols, codes and columns of patterns beyond those of a home: copies are symbols of their own, so that no two
    patterns are of the same window. Pattern `number` is one of the home's, or a copy of it."""
    row, copy = number % len(stored), number // len(stored)
    copies = int(copy.max()) + 1
    symbols = [f"{copy:03d}-{name}" for copy in range(copies) for name in stored.symbols]
    code = (copy * len(stored.symbols) + stored.code[row]).astype(np.int32)
    names = ("end", "known_on", "bar", "returns", "barrier", "content")
    return symbols, code, {name: getattr(stored, name)[row] for name in names}


def _asked(vectors: Any, dates: Any) -> Queries:
    """Queries that are no pattern's own."""
    return Queries(vectors, dates, np.full(len(vectors), -1, np.int32), np.zeros(len(vectors), np.int32))


def cold(folder: str, market: Market) -> dict[str, Any]:
    """After `day_before`, nothing loaded: the first value of a symbol, imports included, since the process began."""
    home = Home(Path(folder) / "copy")
    with open_cluster() as cluster:
        key = StateKey.newest(home, market.settings)
        overview = cluster.load(key)
        (dates,) = cluster.call(tasks.plan, key, ["S00000"], 1, None)
        cluster.call(tasks.score, key, batch_of("S00000", dates))
    seconds = time.time() - psutil.Process().create_time()
    return {"patterns": overview.n_patterns, "seconds": seconds, "peak": peak_megabytes()}
