"""A rehearsal on a small synthetic market: what bars, patterns and samples cost on this machine, now.

Two homes are made in a temporary folder, and everything that index and run do is done to them by the functions that do
it. A tiny one tells what each step costs however little there is, and has the libraries make their first use of
everything; the difference to a larger one tells what a bar, a pattern or a sample costs (`Line`).

1. `start`: libraries imported, a cluster opened, the encoder loaded. In a process that has done so already it is next
   to nothing, as are its real runs then.
2. Of each home: bars read, the catalogue of windows built, patterns stored, compared with the catalogue, and loaded
   with their index. Of the larger one's windows some are drawn and encoded (`encode`), and the vectors of the others
   are these with a little noise, so that there may be many. Patterns of every session are made, whatever the stride.
3. Runs on the larger home: one sample, one sample of every symbol, many samples of few symbols. They tell what a run, a
   symbol and a sample cost, values stored.
4. `scan_daily`, `scan_many`: what one more pattern costs one sample, from searches that may see a quarter of the
   patterns and all of them, in batches as daily and long runs have them, by as many threads as compute at once.
5. Bytes: those of the arrays of the loaded state, of the rows as Arrow has them while they are read, and of the files
   of each table.

Seconds are by the clock with all threads at work, so that they hold whatever else the machine is doing meanwhile.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import psutil
import pyarrow as pa

from kline_core._cache import loaded
from kline_core._cores import CORE_COUNT
from kline_core._threads import single_threaded
from kline_core.bars.bars_cache import COLUMNS, BarsKey
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.encoder.synthetic import synthetic_market
from kline_core.encoder.weights import weights_shape
from kline_core.factor.state_key import StateKey
from kline_core.patterns.catalogue import Catalogue, CatalogueKey
from kline_core.patterns.update import SLICE, update_patterns
from kline_core.patterns.verified import PatternsKey
from kline_core.planning.held_bytes import held_bytes
from kline_core.planning.rates import Line, Rehearsal
from kline_core.search.candidates import Queries
from kline_core.search.search import search
from kline_core.settings import PatternSettings, Settings
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from kline_core.typing import Floats32
from kline_core.windows.prices import prices_of_windows

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster
    from kline_core.factor.state import LoadedState
    from kline_core.windows.rounded_shapes import RoundedShapes

PATTERNS = 100_000
"""Patterns of the larger home: enough for the index to search as it does in large homes."""
_EACH = 400
"""Patterns of each of its symbols."""
_TINY = 10, 20
"""Symbols of the tiny home, and patterns of each."""
_SAMPLES = {"fast": (12, 300), "full": (3, 300)}
"""Symbols and samples of each in the run of many samples, by mode; full mode takes several times as long."""
_NOISE = 0.02
_REPEATS = 3


def rehearse(
    settings: Settings,
    batches: tuple[int, int],
    encoder: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    patterns: int = PATTERNS,
) -> Rehearsal:
    """Measure what things cost, in some ten seconds.

    Args:
        settings: Those of the values; their stride costs nothing, and is taken as 1.
        batches: Samples of a batch of a daily run, and of a longer one.
        encoder: Weights' file; None for the default ones.
        device: Device of the encoder.
        threads: Threads of a cluster inside this process; None for one a core.
        patterns: Patterns of the larger home.

    Raises `SettingError` and `EncoderError` for what cannot be used, and `HomeError` if the temporary folder takes no
    home.
    """
    began = perf_counter()
    key = EncoderKey.of(encoder, device)
    # Of rehearsed samples none is refused for what the encoder has seen.
    settings = Settings(replace(settings.patterns, pattern_stride=1), replace(settings.factor, allow_seen=True))
    from kline_core.compute.opening import open_cluster

    with open_cluster(threads=threads) as cluster, TemporaryDirectory(prefix="kline-plan-") as place:
        loaded(key).loaded()
        _import_everything()
        start, base = perf_counter() - began, psutil.Process().memory_info().rss
        at_once = min(cluster.threads, CORE_COUNT)
        tiny = _Stage.of(Path(place) / "tiny", settings, key, at_once, *_TINY, 256)
        symbols = max(2, round(patterns / _EACH))
        each = round(patterns / symbols)
        large = _Stage.of(Path(place) / "large", settings, key, at_once, symbols, each, SLICE * at_once)
        runs = _Runs.of(large, cluster, settings)
        scans = [_scan_seconds(large.state, batch, at_once) for batch in batches]
        held = [held_bytes(stage.state.frames) for stage in (tiny, large)]
        whole = [held_bytes(stage.state, stage.windows, stage.shapes) for stage in (tiny, large)]

        def line(of: Callable[[_Stage], tuple[float, float]]) -> Line:
            return Line.through(of(tiny), of(large))

        patterns_held = Line.through(
            *(
                (len(stage.windows), all_of - bars - held_bytes(stage.state.index))
                for stage, all_of, bars in zip((tiny, large), whole, held, strict=True)
            )
        )
        symbol, sample, write = runs.costs(scans)
        return Rehearsal(
            threads=at_once,
            batches=batches,
            took=perf_counter() - began,
            start=start,
            bars=line(lambda stage: (stage.bars, stage.seconds["bars"])),
            catalogue=line(lambda stage: (stage.bars, stage.seconds["catalogue"])),
            encode=large.encode,
            store=line(lambda stage: (len(stage.windows), stage.seconds["store"])),
            compare=line(lambda stage: (len(stage.windows), stage.seconds["compare"])),
            load=line(lambda stage: (len(stage.windows), stage.seconds["load"])),
            run=runs.single,
            symbol=symbol,
            sample=sample,
            write=write,
            scan_daily=scans[0],
            scan_many=scans[1],
            base_bytes=base,
            bar_bytes=held[1] / large.bars,
            pattern_bytes=patterns_held.each,
            bar_row_bytes=large.home.read("bars", COLUMNS).nbytes / large.bars,
            pattern_row_bytes=large.home.read("patterns").drop_columns(["vector"]).nbytes / len(large.windows),
            vector_bytes=large.state.patterns.vectors.dtype.itemsize * large.state.patterns.dim,
            scan_bytes=(held_bytes(large.state.index) - large.state.patterns.vectors.nbytes) / len(large.windows),
            bars_disk=line(lambda stage: (stage.bars, table_bytes(stage.home, "bars"))),
            patterns_disk=line(lambda stage: (len(stage.windows), table_bytes(stage.home, "patterns"))),
            values_disk=runs.disk,
        )


def _import_everything() -> None:
    """Import what a run imports, so that it counts as start."""
    import kline_core.factor.scoring
    import kline_core.patterns.encode  # noqa: F401


def table_bytes(home: Home, table: str) -> int:
    """Bytes of the data files of the newest version of a table; 0 if it was never made."""
    return 0 if home.version(table) is None else sum(home.files(table).values())


class _Borrowed:
    """A `WindowEncoder` whose vectors are encoded ones with noise, of another window each."""

    def __init__(self, key: EncoderKey, vectors: Floats32) -> None:
        self.fingerprint, self._vectors = key.fingerprint, vectors
        self.dim, self.window_bars = weights_shape(key.path)
        # None, so that no vector of the index cache passes for an encoded one, and none is kept there.
        self.devices: tuple[str, ...] = ()
        self.seconds = 0.0

    def vectors(
        self,
        bars: BarsKey,  # noqa: ARG002
        windows: Catalogue,
        settings: PatternSettings,  # noqa: ARG002
        progress: Callable[[int], None] | None = None,  # noqa: ARG002
    ) -> Floats32:
        began = perf_counter()
        rng = np.random.default_rng(0)
        made = self._vectors[np.arange(len(windows)) % len(self._vectors)]
        noise = rng.standard_normal(made.shape, dtype=np.float32)
        noise *= _NOISE / np.sqrt(np.float32(made.shape[1]))
        made += noise
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        self.seconds += perf_counter() - began
        return made


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """One of the two homes, and what its steps took."""

    home: Home
    key: StateKey
    state: "LoadedState"
    windows: Catalogue
    bars: int
    seconds: dict[str, float]
    encode: float
    """Seconds of a window."""

    @classmethod
    def of(
        cls, place: Path, settings: Settings, encoder: EncoderKey, threads: int, symbols: int, each: int, encoded: int
    ) -> Self:
        """Step 2 of this module: a home of so many symbols with so many patterns `each`, of which some are encoded."""
        from kline_core.factor.state import loaded_state
        from kline_core.patterns.encode import LocalWindowEncoder

        steps, seconds = settings.patterns, dict[str, float]()
        count = steps.span_bars + steps.outcome_bars + each - 1
        home = Home(place, create=True)
        frame = synthetic_market(symbols, count, symbols).to_frame()
        frame = frame.assign(amount=np.nan, adj_factor=1.0, suspended=False)
        schema = table_schema("bars")
        home.append("bars", pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False))
        bars = BarsKey.newest(home)
        _timed(seconds, "bars", bars.frames)
        windows: Catalogue = _timed(seconds, "catalogue", CatalogueKey(bars, steps).windows)
        rng = np.random.default_rng(0)
        some = windows.take(np.sort(rng.choice(len(windows), min(encoded, len(windows)), replace=False)))
        local = LocalWindowEncoder(loaded(encoder), threads)
        vectors: Floats32 = _timed(seconds, "encode", lambda: local.vectors(bars, some, steps))
        borrowed = _Borrowed(encoder, vectors)
        made = _timed(seconds, "store", lambda: update_patterns(home, steps, borrowed))
        seconds["store"] -= borrowed.seconds
        compared = PatternsKey.of(home, made.version, CatalogueKey(bars, steps), made.table)
        _timed(seconds, "compare", compared.load)
        key = StateKey.newest(home, settings, encoder.path, encoder.device)
        state = _timed(seconds, "load", lambda: loaded_state(key))
        return cls(home, key, state, windows, symbols * count, seconds, seconds["encode"] / len(some))

    @property
    def shapes(self) -> "RoundedShapes | None":
        """Shapes of the patterns, which modes that compare bars hold."""
        return None if self.key.settings.factor.mode == "fast" else self.state.shapes.shapes()


@dataclass(frozen=True, slots=True)
class _Measured:
    """One run."""

    seconds: float
    samples: int
    seen: float
    """Patterns that its samples might see, summed over them."""
    encoding: float
    """Seconds by the clock of drawing and encoding; likewise `search`. Both go on in all threads at once."""
    search: float
    write: float
    """Seconds of the one thread that stores values."""


@dataclass(frozen=True, slots=True)
class _Runs:
    """Step 3 of this module."""

    single: float
    """Seconds of the run of one sample."""
    daily: _Measured
    many: _Measured
    many_symbols: int
    disk: Line

    @classmethod
    def of(cls, stage: _Stage, cluster: "Cluster", settings: Settings) -> Self:
        names = sorted(stage.state.frames)
        few, samples = _SAMPLES[settings.factor.mode]
        few = min(few, len(names))
        # The first has the libraries make their first use of everything.
        _measured(stage, cluster, Request(names[:1], 1))
        single = _measured(stage, cluster, Request(names[1:2], 1)).seconds
        daily = _measured(stage, cluster, Request(samples=1))
        before = len(names), _values_bytes(stage.home)
        many = _measured(stage, cluster, Request(names[-few:], samples))
        after = len(names) + many.samples, _values_bytes(stage.home)
        return cls(single, daily, many, few, Line.through(before, after))

    def costs(self, scans: list[float]) -> tuple[float, float, float]:
        """Seconds of a symbol, of a sample and of its write; `daily` and `many` are two equations for the first two."""
        a, b = (
            max(0.0, run.seconds - self.single - run.encoding - min(run.search, run.seen * scan)) / max(1, run.samples)
            for run, scan in zip((self.daily, self.many), scans, strict=True)
        )
        share = self.many_symbols / max(1, self.many.samples)
        symbol = max(0.0, (a - b) / max(0.5, 1 - share))
        sample = max(0.0, b - share * symbol)
        write = min(sample, self.many.write / max(1, self.many.samples))
        return symbol, sample - write, write


def _measured(stage: _Stage, cluster: "Cluster", request: Request) -> _Measured:
    run = Run(stage.home, cluster, stage.key, request)
    report = run_symbols(run)
    computed = report.count("done") + report.count("failed")
    seen = float(sum(stage.state.patterns.n_known(days).sum() for days in run.asked.values()))
    spent = {name: report.seconds.get(name, 0.0) / run.parallel for name in ("render", "encode", "search")}
    return _Measured(
        seconds=report.seconds["total"] - report.seconds["load"],
        samples=computed,
        seen=seen,
        encoding=spent["render"] + spent["encode"],
        search=spent["search"],
        write=report.seconds["write"],
    )


def _values_bytes(home: Home) -> int:
    return table_bytes(home, "factors") + table_bytes(home, "matches")


def _scan_seconds(state: "LoadedState", batch: int, threads: int) -> float:
    """Step 4 of this module: seconds of a pattern that a sample may see."""
    patterns, settings = state.patterns, state.key.settings
    rows = np.random.default_rng(0).integers(0, len(patterns), batch)
    windows = patterns.code[rows], patterns.bar[rows].astype(np.int64)
    prices = prices_of_windows(state.frames, patterns.symbols, *windows, settings.patterns.window_bars)
    vectors = np.ascontiguousarray(patterns.vectors[rows])
    strangers = np.full(batch, -1, dtype=np.int32), np.zeros(batch, dtype=np.int32)
    few, full = patterns.known_on[len(patterns) // 4], patterns.known_on[-1]
    took: dict[Any, list[float]] = {few: [], full: []}

    def work(day: Any) -> None:
        single_threaded()
        queries = Queries(vectors, np.full(batch, day), *strangers, prices)
        search(
            *(state.index, patterns, queries, settings.factor),
            *(settings.patterns.window_bars, state.shapes, settings.patterns.span_bars),
        )

    with ThreadPoolExecutor(threads, "scan") as pool:
        for _ in range(_REPEATS):
            for day, seconds in took.items():
                began = perf_counter()
                list(pool.map(work, [day] * threads))
                seconds.append(perf_counter() - began)
    more = int(np.diff(patterns.n_known(np.array([few, full])))[0])
    return max(0.0, (median(took[full]) - median(took[few])) / max(1, threads * batch * more))


def _timed(seconds: dict[str, float], name: str, function: Callable[[], Any]) -> Any:
    began = perf_counter()
    found = function()
    seconds[name] = perf_counter() - began
    return found
