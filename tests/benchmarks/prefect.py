"""What Prefect costs on a nightly run of many symbols, on SQLite and on PostgreSQL.

Three homes hold the same synthetic market, with values for its history. Trading day after trading day, in turn, each
gets one more bar of every symbol: one by the functions that `kline run` uses, the others by the flow `daily`, reporting
to a Prefect server on SQLite and to one on PostgreSQL. All three ingest the same file, extend patterns, score the same
samples, store the same values, which is checked, and draw the same pictures. A day with one new sample per symbol is
the least work that a run can have, so Prefect's share of it is the largest. With `--all` no values are kept from day to
day, so that all samples of every symbol are computed, as on the first run of a home or after a change of the settings.

Every day is a process of its own, as every run of a deployment is, and is timed from its start until it has ended with
all its records sent: what Prefect costs holds its import, its artifacts and its task runs.

    python -m tests.benchmarks.prefect --symbols 1000 --days 3
    python -m tests.benchmarks.prefect --symbols 1000 --bars 700 --days 1 --all
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from kline_core._text import table
from kline_core.api.data import ingest
from kline_core.bars.sessions import sessions_until
from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.synthetic import synthetic_market
from kline_core.evaluation.session_change import session_change
from kline_core.factor.state_key import StateKey
from kline_core.factor.stored_values import latest_values, ranking
from kline_core.factor.symbol_history import symbol_history
from kline_core.factor.weighted_outcomes import weighted_outcomes
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.plots.factor_plots import values_picture
from kline_core.plots.history_plot import history_png
from kline_core.settings import Settings
from kline_core.store.home import Home
from tests.support.postgres import binaries, postgres

SERVER = "KLINE_BENCHMARK_SERVER"
"""Variable by which the process of one day knows its server; the bare way has none, and imports no Prefect."""


def plain(home: Home, file: Path, samples: int) -> None:
    """The same work without Prefect, what the artifacts show included."""
    settings = Settings()
    with open_cluster() as cluster:
        ingest(home, [file])
        cluster.update_patterns(home, settings.patterns)
        run = Run(home, cluster, StateKey.newest(home, settings), Request(samples=samples))
        report = run_symbols(run)
        latest = latest_values(home, run.symbols, report.fingerprint)
        newest = ranking(latest).iloc[0]
        day = np.datetime64(newest["date"].date(), "D")
        session_change(home, report.fingerprint, run.symbols, day)
        weighted_outcomes(home, latest, report.fingerprint, settings.factor.return_horizon)
        values_picture(latest["value"].to_numpy(dtype=np.float64), "values")
        cluster.call(tasks.picture, run.key, newest["symbol"], day)
        history_png(symbol_history(home, newest["symbol"], report.fingerprint, last=day))


def prepared(place: Path, symbols: int, bars: int, days: int, samples: int, every: bool) -> None:
    """Make a home with values of all but the last days, or of none, and one file for each of these."""
    sessions = sessions_until(np.datetime64("2024-12-31"), bars, "XSHG")
    frame = synthetic_market(symbols, bars, 0).to_frame(prefix="S")
    frame["date"] = np.tile(sessions, symbols)
    for day in sessions[-days:]:
        frame[frame["date"] == pd.Timestamp(day)].to_parquet(place / f"{day}.parquet", index=False)
    frame[frame["date"] < pd.Timestamp(sessions[-days])].to_parquet(place / "history.parquet", index=False)
    home = Home(place / "home", create=True)
    ingest(home, [place / "history.parquet"])
    update_patterns(home, Settings().patterns, LocalWindowEncoder(Encoder.load()))
    if every:
        return
    with open_cluster() as cluster:
        run_symbols(Run(home, cluster, StateKey.newest(home, Settings()), Request(samples=samples)))


@contextmanager
def ways(place: Path, base: Path) -> Iterator[dict[str, tuple[Path, dict[str, str]]]]:
    """By name a home, and what the environment of its runs says of a Prefect server."""
    found: dict[str, tuple[Path, dict[str, str]]] = {"without Prefect": (place / "bare", {})}
    from tests.support.prefect_server import prefect_server

    with ExitStack() as stack:
        databases = {"SQLite": {}}
        if binaries() is not None:
            databases["PostgreSQL"] = {"PREFECT_API_DATABASE_CONNECTION_URL": stack.enter_context(postgres())}
        for name, env in databases.items():
            (place / name).mkdir()
            server = stack.enter_context(prefect_server(place / name, **env))
            found[name] = place / f"home-{name}", server.env | {SERVER: server.url}
        for home, _ in found.values():
            shutil.copytree(base, home)
        yield found


def bring(home: Path, file: Path, samples: int, env: dict[str, str]) -> float:
    """Seconds of one more day, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.prefect", "--home", str(home), "--file", str(file)]
    started = perf_counter()
    done = subprocess.run([*command, "--samples", str(samples)], env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return perf_counter() - started


def one_day(home: Path, file: Path, samples: int) -> None:
    """What such a process does."""
    url = os.environ.get(SERVER)
    if url is None:
        plain(Home(home), file, samples)
        return
    from flows.daily import daily
    from tests.support.prefect_server import Server, reporting_to

    with reporting_to(Server(url, {}, Path(os.environ["PREFECT_HOME"]))):
        # The first windows of so short a history have no matches; the bare way does not judge either.
        state = daily(home=str(home), source=str(file), samples=samples, max_failed_share=1.0, return_state=True)
    assert state.is_completed(), state.message


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
    parser.add_argument("--all", action="store_true", help="keep no values: every sample is computed, every day")
    parser.add_argument("--place", type=Path, help="keep the prepared home there, and use one that is")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.home is not None:
        one_day(options.home, options.file, options.samples)
        return
    place = Path(tempfile.mkdtemp(prefix="kline-prefect-"))
    try:
        kept = options.place or place
        if not (kept / "home").exists():
            kept.mkdir(exist_ok=True)
            prepared(kept, options.symbols, options.bars, options.days, options.samples, options.all)
        if not options.all and Home(kept / "home").version("factors") is None:
            parser.error(f"the home in {kept} was prepared with --all and holds no values; name another place")
        base, files = kept / "home", sorted(kept.glob("2*.parquet"))[: options.days]
        seconds: dict[str, list[float]] = {}
        with ways(place, base) as found:
            for file in files:
                for name, (home, env) in found.items():
                    if options.all:
                        for values_table in ("factors", "matches"):
                            shutil.rmtree(home / values_table, ignore_errors=True)
                    seconds.setdefault(name, []).append(bring(home, file, options.samples, env))
                    print(f"{file.stem}, {name}: {seconds[name][-1]:.2f} s", file=sys.stderr)
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
    computed = "all samples computed" if options.all else "one new sample each"
    print(
        f"{options.symbols} symbols of {options.bars} bars, {computed}, {options.days} days in turn; "
        "the values are the same"
    )
    print(table(["reporting to", "median s", "spread", "Prefect's share", "ms per symbol"], rows))
    if options.json:
        options.json.write_text(json.dumps({"symbols": options.symbols, "seconds": seconds}))


if __name__ == "__main__":
    main()
