"""What Prefect costs on a nightly run of many symbols, on SQLite and on PostgreSQL.

Three homes hold the same synthetic market, with values for its history. Trading day after trading day, in turn, each
gets one more bar of every symbol: one by the functions that `kline run` uses, the others by the flow `daily`, reporting
to a Prefect server on SQLite and to one on PostgreSQL. All three ingest the same file, extend patterns, score the same
samples and store the same values, which is checked. A day with one new sample per symbol is the least work that a run
can have, so Prefect's share of it is the largest.

    python -m tests.benchmarks.prefect --symbols 1000 --days 3
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from flows.daily import daily
from flows.scoring import TASK_RUNS
from kline_core.calendar import sessions_until
from kline_core.cluster import open_cluster
from kline_core.console import table
from kline_core.encoder import Encoder
from kline_core.encoding import LocalEncoding
from kline_core.extend import extend_patterns
from kline_core.ingest import ingest
from kline_core.keys import ResourceKey
from kline_core.run import Request, Run, run_symbols
from kline_core.settings import Settings
from kline_core.synthetic import synthetic_market
from kline_core.tables import Home
from tests.flows.conftest import prefect_server, reporting_to
from tests.postgres import binaries, postgres


def plain(home: Home, file: Path, samples: int) -> None:
    """The same work without Prefect."""
    settings = Settings()
    with open_cluster() as cluster:
        ingest([file], home)
        extend_patterns(home, settings.patterns, cluster.encoding(home))
        run_symbols(Run(home, cluster, ResourceKey.newest(home, settings), Request(samples=samples)))


def prepared(place: Path, symbols: int, bars: int, days: int, samples: int) -> tuple[Path, list[Path]]:
    """A home with values of all but the last days, and one file for each of these."""
    sessions = sessions_until(np.datetime64("2024-12-31"), bars, "XSHG")
    frame = synthetic_market(symbols, bars, 0).to_frame(prefix="S")
    frame["date"] = np.tile(sessions, symbols)
    files = []
    for day in sessions[-days:]:
        files.append(place / f"{day}.parquet")
        frame[frame["date"] == pd.Timestamp(day)].to_parquet(files[-1], index=False)
    frame[frame["date"] < pd.Timestamp(sessions[-days])].to_parquet(place / "history.parquet", index=False)
    home = Home(place / "home", create=True)
    ingest([place / "history.parquet"], home)
    extend_patterns(home, Settings().patterns, LocalEncoding(Encoder.load()))
    with open_cluster() as cluster:
        run_symbols(Run(home, cluster, ResourceKey.newest(home, Settings()), Request(samples=samples)))
    return place / "home", files


@contextmanager
def ways(place: Path, base: Path, samples: int) -> Iterator[dict[str, tuple[Path, Callable[[Path], None]]]]:
    """The homes, and what brings one more day into each."""
    with ExitStack() as stack:
        found: dict[str, tuple[Path, Callable[[Path], None]]] = {}
        bare = place / "bare"
        found["without Prefect"] = bare, lambda file: plain(Home(bare), file, samples)
        databases = {"SQLite": {}}
        if binaries() is not None:
            databases["PostgreSQL"] = {"PREFECT_API_DATABASE_CONNECTION_URL": stack.enter_context(postgres())}
        for name, env in databases.items():
            (place / name).mkdir()
            server = stack.enter_context(prefect_server(place / name, **env))

            def flow(file: Path, server: Any = server, home: Path = place / f"home-{name}") -> None:
                with reporting_to(server):
                    state = daily(home=str(home), source=str(file), samples=samples, return_state=True)
                assert state.is_completed(), state.message

            found[name] = place / f"home-{name}", flow
        for home, _ in found.values():
            shutil.copytree(base, home)
        yield found


def values(home: Path) -> pd.DataFrame:
    columns = ["symbol", "date", "value", "status"]
    frame: pd.DataFrame = Home(home).read("factors", columns).to_pandas()
    return frame.sort_values(["symbol", "date"]).reset_index(drop=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--bars", type=int, default=300)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="kline-prefect-"))
    try:
        base, files = prepared(place, options.symbols, options.bars, options.days, options.samples)
        seconds: dict[str, list[float]] = {}
        with ways(place, base, options.samples) as found:
            for file in files:
                for name, (_, bring) in found.items():
                    started = perf_counter()
                    bring(file)
                    seconds.setdefault(name, []).append(perf_counter() - started)
            first, *others = (values(home) for home, _ in found.values())
            assert all(first.equals(other) for other in others), "the ways differ in their values"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    report(options, seconds)


def report(options: argparse.Namespace, seconds: dict[str, list[float]]) -> None:
    base = statistics.median(seconds["without Prefect"])
    rows = []
    for name, took in seconds.items():
        median = statistics.median(took)
        share, each = 1 - base / median, (median - base) / options.symbols
        spread = f"{min(took):.1f} to {max(took):.1f}"
        rows.append([name, f"{median:.2f}", spread, f"{100 * share:.1f} %", f"{1000 * each:.2f}"])
    print(
        f"{options.symbols} symbols, one new day each, {options.days} days in turn; "
        f"{min(options.symbols, TASK_RUNS)} task runs at most; the values are the same"
    )
    print(table(["reporting to", "median s", "spread", "Prefect's share", "ms per symbol"], rows))
    if options.json:
        options.json.write_text(json.dumps({"symbols": options.symbols, "seconds": seconds}))


if __name__ == "__main__":
    main()
