"""The flow in this process, against a real server."""

import base64
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster
from prefect.exceptions import ParameterTypeError

import flows.steps.patterns
import flows.steps.scoring
import kline_core.compute.standing
import kline_core.factor.stored_values
from flows.backfill import backfill
from flows.daily import daily
from flows.evaluate import evaluate
from kline_core._memory import VECTORS
from kline_core.by_year import all_fingerprints
from kline_core.compute import workload
from kline_core.compute.run import Run
from kline_core.encoder.synthetic import random_walk
from kline_core.encoder.weights import weights_fingerprint
from kline_core.encoder.year_folder import stored_under
from kline_core.errors import HomeError, InputError, RunFailedError, SchedulerError, UnknownSymbolError
from kline_core.search.disk_index import DiskIndex
from kline_core.settings import PatternSettings, Settings
from kline_core.store.home import Home
from tests.support.homes import write_encoder
from tests.support.prefect_server import SYMBOLS, Server
from tests.support.processes import poll
from tests.support.run_logs import errors_of, log_of

OTHER_TASKS = {"refresh bars", "extend patterns", "publish summary"}


@pytest.fixture(scope="module", autouse=True)
def api(reporting: Server) -> Server:
    return reporting


@pytest.fixture(scope="module")
def stored(bar_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after one run of the flow."""
    home = tmp_path_factory.mktemp("home") / "home"
    assert daily(str(home), str(bar_files), samples=30, threads=2, return_state=True).is_completed()
    return home


@pytest.fixture
def home(stored: Path, tmp_path: Path) -> Path:
    """That home with its bars and patterns only, to be changed at will."""
    shutil.copytree(stored, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / "factors")
    shutil.rmtree(tmp_path / "home" / "matches")
    return tmp_path / "home"


def values(home: Path) -> list[tuple[Any, ...]]:
    rows = (
        Home(home)
        .read("factors", ["symbol", "date", "value", "status", "reason"])
        .sort_by([("symbol", "ascending"), ("date", "ascending")])
    )
    return list(zip(*rows.to_pydict().values(), strict=True))


def weighted(home: Path) -> dict[str, float]:
    """Mean 5-bar return of each symbol's newest matches by their weights, the long way round."""
    rows = Home(home).read("matches").to_pandas()
    newest = rows[rows["date"] == rows["date"].max()]
    return {
        str(symbol): round(float(np.average(each["r5"], weights=each["weight"])), 4)
        for symbol, each in newest.groupby("symbol")
    }


def run(**parameters: Any) -> Any:
    return daily(**({"samples": 30, "threads": 2} | parameters), return_state=True)


def flow_run(state: Any) -> str:
    return str(state.state_details.flow_run_id)


@pytest.mark.long
def test_values_of_other_settings_stand_beside_the_others(home: Path) -> None:
    typed = {"top_k": 3, "half_life_days": "none", "min_similarity": 0.2}
    state = run(home=str(home), settings=typed)
    assert state.is_completed()
    settings = Settings.preset(top_k=3, half_life_days=None, min_similarity=0.2)
    rows = Home(home).read("factors").to_pandas()
    assert set(rows["fingerprint"]) == {settings.fingerprint(weights_fingerprint())}
    assert rows["matches"].max() == 3
    assert rows.loc[rows["status"] == "ok", "effective_matches"].min() > 2.5
    assert run(home=str(home)).is_completed()
    both = Home(home).read("factors", ["fingerprint"])["fingerprint"].to_pylist()
    assert len(set(both)) == 2


@pytest.mark.long
@pytest.mark.usefixtures("nothing_loaded", "small_homes_cached")
def test_values_are_the_same_where_vectors_are_on_disk(
    stored: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VECTORS, "disk")
    places = []
    build = DiskIndex.build
    monkeypatch.setattr(DiskIndex, "build", lambda *parts: places.append("disk") or build(*parts))
    assert run(home=str(home)).is_completed()
    assert places == ["disk"]
    assert values(home) == values(stored)


@pytest.mark.long
def test_each_year_goes_by_its_own_encoder(home: Path, tmp_path: Path) -> None:
    days = np.unique(Home(home).read("bars", ["date"])["date"].to_numpy())
    last = int(str(days[-1])[:4])
    folder = tmp_path / "years"
    folder.mkdir()
    for year in (last - 1, last):
        write_encoder(folder / f"{year}.safetensors", year, window_bars=20, trained_through=f"{year - 1}-12-31")
    asked = {"home": str(home), "encoder": str(folder), "max_failed_share": 1.0}
    state = run(**asked)
    assert state.is_completed()
    names = stored_under(Settings(), folder)
    counts = Home(home).read("factors").to_pandas().groupby("fingerprint").size()
    assert set(counts.index) == all_fingerprints(names)
    assert counts.sum() == 90
    assert len(Home(home).pattern_tables()) == 3
    # A day of the year before: its picture is by the encoder of that year.
    day = str(days[days < np.datetime64(f"{last}-01-01")][-1])
    assert run(**asked, as_of=day).is_completed()
    assert backfill(
        home=str(home), encoder=str(folder), first=day, max_failed_share=1.0, threads=2, return_state=True
    ).is_completed()
    judged = evaluate(home=str(home), encoder=str(folder), return_state=True)
    assert judged.result()["samples"] == Home(home).read("factors", fingerprint=names).num_rows


@pytest.mark.long
def test_time_scales_have_patterns_and_values_of_their_own(home: Path) -> None:
    version = Home(home).version("patterns")
    assert run(home=str(home), settings={"scales": [1, 5]}, samples=5, symbols=SYMBOLS[0]).is_completed()
    made = Settings(PatternSettings(scales=(1, 5))).fingerprint(weights_fingerprint())
    assert Home(home).read("factors")["fingerprint"].unique().to_pylist() == [made]
    assert Home(home).version("patterns") == version
    (_, own) = Home(home).pattern_tables()
    assert Home(home).description(own)["settings"]["scales"] == [1, 5]


@pytest.mark.long
def test_a_backfill_of_time_scales_makes_and_extends_their_patterns(home: Path) -> None:
    typed = {"scales": [1, 5], "pattern_stride": 2, "calendar": "24/5", "mode": "full"}
    asked: dict[str, Any] = {"home": str(home), "settings": typed, "symbols": SYMBOLS[0], "threads": 2}
    dates = Home(home).read("bars", ["symbol", "date"], symbols=[SYMBOLS[0]])["date"].to_pylist()
    days = sorted(dates)[-12:]
    version = Home(home).version("patterns")
    state = backfill(**asked, first=days[0], last=days[5], max_failed_share=1.0, return_state=True)
    assert state.is_completed()
    settings = Settings.preset(scales=(1, 5), pattern_stride=2, calendar="24/5", mode="full")
    fingerprint = settings.fingerprint(weights_fingerprint())
    rows = Home(home).read("factors").to_pandas()
    assert set(rows["fingerprint"]) == {fingerprint}
    assert sorted(rows["date"]) == days[:6]
    assert (rows["status"] == "ok").all()
    (_, own) = Home(home).pattern_tables()
    assert Home(home).description(own)["settings"]["scales"] == [1, 5]
    assert Home(home).version("patterns") == version
    # It goes on where it was, with the patterns that are there.
    made = Home(home).version(own)
    again = backfill(**asked, first=days[0], max_failed_share=1.0, return_state=True)
    assert again.message.endswith(" + 6 re-used")
    assert Home(home).version(own) == made
    assert sorted(Home(home).read("factors")["date"].to_pylist()) == days


def test_one_task_run_per_symbol_then_everything_is_reused(api: Server, bar_files: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = run(home=str(home), source=str(bar_files))
    assert first.is_completed()
    assert first.message.startswith("3 symbols, 90 samples = ")
    assert first.message.endswith(" + 0 re-used")
    runs = api.task_runs(flow_run(first), 6)
    assert set(runs) == OTHER_TASKS | set(SYMBOLS)
    assert {each["state_type"] for each in runs.values()} == {"COMPLETED"}
    shown = api.artifacts(flow_run(first))
    report = first.result().report.to_dict()
    assert f"## {first.message}" in shown["daily-summary"]
    assert "1200 rows read = 1200 new" in shown["daily-summary"]
    assert "version of patterns" in shown["daily-summary"]
    assert "show no problem" in shown["daily-quality"]
    for reason, count in report["reasons"].items():
        assert f"{count} x {reason}" in shown["daily-summary"]
    rows = values(home)
    assert len(rows) == 90
    newest = {symbol: (str(date), value) for symbol, date, value, *_ in rows}
    assert newest[SYMBOLS[0]][0] == str(random_walk(1, 400, 1).to_frame()["date"].iloc[-1].date())
    symbols = json.loads(shown["daily-symbols"])
    assert [row["value"] for row in symbols] == sorted((row["value"] or -1 for row in symbols), reverse=True)
    assert {row["symbol"]: (row["newest"], row["value"]) for row in symbols} == {
        symbol: (day, None if value is None else round(value, 4)) for symbol, (day, value) in newest.items()
    }
    ranking = json.loads(shown["daily-ranking"])
    with_value = [value for _, value in newest.values() if value is not None]
    assert [row["value"] for row in ranking] == [round(value, 4) for value in sorted(with_value, reverse=True)]
    assert all(row["matches"] == 5 for row in ranking)
    assert {row["symbol"]: row["weighted mean outcome"] for row in ranking} == weighted(home)
    links = re.findall(r"\[[^]]+\]\(\.\./\.\./artifacts/artifact/(\S+)\)", shown["daily-summary"])
    assert {api.get(f"artifacts/{each}")["key"] for each in links} == shown.keys() - {"daily-summary", "daily-progress"}
    for picture in ("daily-values", "daily-matches", "daily-history"):
        image = re.fullmatch(r"!\[[^]]+\]\(data:image/png;base64,(\S+)\)", shown[picture])
        assert image
        assert base64.b64decode(image[1]).startswith(b"\x89PNG")
    assert shown["daily-progress"] == 100.0
    assert "### Against the previous session" in shown["daily-summary"]

    again = run(home=str(home), source=str(bar_files))
    assert again.is_completed()
    # A sample without a value counts as failed on every run.
    done, failed = report["done"], report["failed"]
    assert failed < done
    assert again.message == f"3 symbols, 90 samples = 0 done + {failed} failed + {done} re-used"
    assert "1200 stored already" in api.artifacts(flow_run(again))["daily-summary"]
    assert values(home) == rows


def test_chosen_symbols_and_day(api: Server, home: Path) -> None:
    day = "2011-01-03"
    state = run(home=str(home), symbols="S00002, S00000", as_of=day)
    assert state.is_completed()
    assert set(api.task_runs(flow_run(state), 4)) == {"extend patterns", "publish summary", "S00000", "S00002"}
    rows = values(home)
    assert {row[0] for row in rows} == {"S00000", "S00002"}
    assert {str(max(row[1] for row in rows if row[0] == name)) for name in ("S00000", "S00002")} == {day}
    rows = json.loads(api.artifacts(flow_run(state))["daily-symbols"])
    assert {row["symbol"]: row["newest"] for row in rows} == {"S00000": day, "S00002": day}
    shown = api.artifacts(flow_run(state))
    assert {"daily-history-s00000", "daily-history-s00002"} < set(shown)
    assert api.get(f"flow_runs/{flow_run(state)}")["name"].startswith(f"S00002, S00000 {day}: ")


def test_one_symbol_that_breaks_does_not_stop_the_others(
    api: Server, home: Path, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Run._score_batch

    def broken(self: Run, symbols: Sequence[str], chunks: int, alone: bool) -> Any:
        if "S00001" in symbols:
            raise ValueError("bars on fire")
        return score(self, symbols, chunks, alone)

    monkeypatch.setattr(Run, "_score_batch", broken)
    state = run(home=str(home))
    assert state.is_failed()
    assert state.message.startswith("1 of 3 symbols broke: S00001 (ValueError: bars on fire); stored: 2 symbols, 60 ")
    with pytest.raises(RunFailedError, match="S00001"):
        state.result()
    runs = api.task_runs(flow_run(state), 5)
    assert {name: runs[name]["state_type"] for name in SYMBOLS} == dict(
        zip(SYMBOLS, ["COMPLETED", "FAILED", "COMPLETED"], strict=True)
    )
    # Two more attempts were made.
    assert runs["S00001"]["run_count"] == 3
    page = api.artifacts(flow_run(state))["daily-summary"]
    assert "### Symbols that broke\n\n- **S00001**: `ValueError: bars on fire`" in page
    assert values(home) == [row for row in values(stored) if row[0] != "S00001"]


def test_all_symbols_that_break(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("bars\non fire")

    monkeypatch.setattr(Run, "_score_batch", broken)
    state = run(home=str(home), symbols="S00001")
    assert state.is_failed()
    assert state.message == "1 of 1 symbols broke: S00001 (ValueError: bars)"


@pytest.mark.long
def test_a_commit_that_fails_once_is_made_by_the_next(
    api: Server, home: Path, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert, left = Home.upsert, [1]

    def fails_once(self: Home, table: str, *arguments: Any) -> int:
        if table == "factors" and left:
            left.pop()
            raise HomeError("no room")
        return upsert(self, table, *arguments)

    # Each symbol's rows are written at once, so that the next commit holds those of the one that failed.
    monkeypatch.setattr(kline_core.factor.stored_values, "FLUSH_ROWS", 1)
    monkeypatch.setattr(Home, "upsert", fails_once)
    state = run(home=str(home))
    assert not left
    assert state.is_completed()
    assert state.message.startswith("3 symbols, 90 samples")
    assert max(each["run_count"] for each in api.task_runs(flow_run(state), 5).values()) == 1
    assert values(home) == values(stored)


def test_too_many_failed_samples(home: Path) -> None:
    state = run(home=str(home), max_failed_share=0.0)
    assert state.is_failed()
    assert "samples failed, more than max_failed_share 0 allows" in state.message
    assert "too few matches" in state.message
    assert len(values(home)) == 90


@pytest.mark.long
def test_a_symbol_with_too_few_bars_is_said(api: Server, home: Path, tmp_path: Path) -> None:
    random_walk(1, 12, seed=2).to_frame(prefix="NEW").to_csv(tmp_path / "new.csv", index=False)
    state = run(home=str(home), source=str(tmp_path / "new.csv"))
    assert state.is_completed()
    page = api.artifacts(flow_run(state))["daily-summary"]
    assert "### Symbols without samples\n\n- **NEW00000**: too few bars" in page
    alone = run(home=str(home), symbols="NEW00000")
    assert alone.is_failed()
    assert "NEW00000: too few bars" in alone.message


@pytest.mark.long
def test_symbols_with_signs_and_other_spellings(api: Server, home: Path, tmp_path: Path) -> None:
    odd = ["600519.SH", "M&M.NS", "NaN", "RDS/A", "^GSPC"]
    bars = random_walk(len(odd), 60, seed=2).to_frame()
    bars.assign(symbol=bars["symbol"].map(dict(zip(bars["symbol"].unique(), odd, strict=True)))).to_csv(
        tmp_path / "odd.csv", index=False
    )
    asked = {"symbols": "sh600519,600519,M&M.NS,NaN,RDS/A,^GSPC", "max_failed_share": 1.0}
    state = run(home=str(home), source=str(tmp_path / "odd.csv"), **asked)
    assert state.is_completed()
    assert set(api.task_runs(flow_run(state), 8)) == OTHER_TASKS | set(odd)
    rows = json.loads(api.artifacts(flow_run(state))["daily-symbols"])
    assert sorted(row["symbol"] for row in rows) == sorted(odd)
    assert {row[0] for row in values(home)} == set(odd)
    assert "did you mean 600519.SH?" in run(home=str(home), symbols="sh600518").message


def test_a_standing_cluster_gives_the_same_values(home: Path, stored: Path) -> None:
    quiet = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with LocalCluster(
        processes=False, n_workers=1, threads_per_worker=3, protocol="tcp", host="127.0.0.1", **quiet
    ) as cluster:
        state = run(home=str(home), scheduler=cluster.scheduler_address)
    assert state.is_completed()
    assert values(home) == values(stored)


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"symbols": "NOPE,S00001"}, UnknownSymbolError, "'NOPE' has no bars"),
        ({"symbols": "../../x"}, UnknownSymbolError, "'../../x' has no bars"),
        ({"samples": 0}, ParameterTypeError, "samples: Input should be greater than or equal to 1"),
        ({"as_of": "yesterday"}, ParameterTypeError, "as_of: "),
        ({"source": "/nowhere/bars"}, InputError, "/nowhere/bars does not exist"),
        ({"scheduler": "tcp://127.0.0.1:9"}, SchedulerError, "no Dask scheduler answers at tcp://127.0.0.1:9"),
    ],
)
def test_refused_before_anything_is_computed(
    home: Path, parameters: dict[str, Any], error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kline_core.compute.standing, "CONNECT_SECONDS", 0.5)
    shutil.rmtree(home / "patterns")
    state = run(home=str(home), **parameters)
    assert state.is_failed()
    assert words in state.message
    with pytest.raises(error):
        state.result()
    assert Home(home).version("patterns") is None
    assert Home(home).version("factors") is None


@pytest.mark.long
def test_what_is_found_in_the_run_leaves_a_to_do_and_one_line_each(api: Server, home: Path) -> None:
    # A bad date gets this far where a program calls the flow; the server makes no run of it.
    for parameters, words in ({"symbols": "NOPE"}, "'NOPE' has no bars"), ({"as_of": "yesterday"}, "as_of: "):
        state = run(home=str(home), **parameters)
        page = api.artifacts(flow_run(state))["daily-to-do"]
        reason, _, _, _, fence, *command, end = page.splitlines()
        assert words in reason
        assert fence == end == "```"
        assert any(f"-p {next(iter(parameters))}={next(iter(parameters.values()))}" in line for line in command)
        # Of parameters that do not fit Prefect logs no end.
        errors = errors_of(log_of(api, flow_run(state), "daily "))
        assert words in errors[0]
        assert not any("Traceback" in error for error in errors)


@pytest.mark.long
def test_a_defect_is_told_first_and_traced_last(api: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("bars on fire")

    monkeypatch.setattr(flows.steps.patterns, "update_patterns", broken)
    monkeypatch.setattr(flows.steps.patterns.update, "retries", 0)
    state = run(home=str(home))
    assert state.message == "ValueError: bars on fire"
    first, second = errors_of(log_of(api, flow_run(state)))
    assert first == "ValueError: bars on fire"
    assert second.startswith("daily all symbols failed: ValueError: bars on fire. What was finished is stored.")
    assert second.endswith("ValueError: bars on fire")
    assert second.count("Traceback") == 1


@pytest.mark.long
def test_home_from_the_environment(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLINE_HOME", raising=False)
    assert "set the parameter home, or KLINE_HOME" in run().message
    monkeypatch.setenv("KLINE_HOME", str(stored))
    assert run(symbols="S00001").message.startswith("1 symbols, 30 samples = 0 done + ")


def test_many_symbols_share_task_runs(api: Server, home: Path, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.steps.scoring, "NAMED", 1)
    monkeypatch.setattr(flows.steps.scoring, "TASK_RUNS", 2)
    monkeypatch.setattr(workload, "GROUP_DATES", 1)
    score, broken = Run._score_batch, ["S00001"]

    def breaks_once(self: Run, symbols: Sequence[str], chunks: int, alone: bool) -> Any:
        # Together they break too, and each is done by itself.
        if len(symbols) > 1:
            raise ValueError("bars on fire together")
        if symbols[0] in broken:
            broken.remove(symbols[0])
            raise ValueError("bars on fire")
        return score(self, symbols, chunks, alone)

    monkeypatch.setattr(Run, "_score_batch", breaks_once)
    state = run(home=str(home))
    assert state.is_completed()
    runs = api.task_runs(flow_run(state), 4)
    assert set(runs) == {"extend patterns", "publish summary", "S00000", "S00001 to S00002 (2 symbols)"}
    # What was done at the first attempt is not done again.
    assert runs["S00001 to S00002 (2 symbols)"]["run_count"] == 2

    def logged() -> list[str] | None:
        lines = api.post("logs/filter", logs={"flow_run_id": {"any_": [flow_run(state)]}})
        said = [line for record in lines for line in record["message"].splitlines() if ": 30 samples: " in line]
        return said if len(said) >= 3 else None

    assert sorted(line.split(":")[0] for line in poll(logged, "log of three symbols", 20)) == SYMBOLS
    assert values(home) == values(stored)


def test_values_carry_the_default_fingerprint(stored: Path) -> None:
    rows = Home(stored).read("factors", ["fingerprint"])
    assert rows["fingerprint"].unique().to_pylist() == [Settings().fingerprint(weights_fingerprint())]
