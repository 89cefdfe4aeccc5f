"""Values and the matches beside them belong together after whatever happened between the two commits of a run."""

import pytest

from kline_core.errors import HomeError
from kline_core.factor.state_key import StateKey
from kline_core.maintenance.verify import verify
from tests.support.bench import Bench
from tests.support.homes import market, replace_bars

FRAME = market(4, 60, seed=2)
RESTATED = FRAME.assign(close=FRAME["close"].where(FRAME["symbol"] != "S00001", FRAME["low"]))


@pytest.fixture
def bench(tmp_path, small_weights):
    return Bench.of(tmp_path / "home", FRAME, weights=small_weights)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, in_process, small_weights):
    found = {}
    for name, frame in (("before", FRAME), ("restated", RESTATED)):
        bench = Bench.of(tmp_path_factory.mktemp("ties") / name, frame, weights=small_weights)
        bench.run(in_process, samples=30)
        found[name] = tables(bench)
    assert found["before"]["matches"] != found["restated"]["matches"]
    return found


def tables(bench):
    return {table: bench.rows(table) for table in ("factors", "matches")}


def restate(bench, frame):
    replace_bars(bench.home, frame, "S00001")
    bench.extend()


def state(bench):
    return verify(bench.home, bench.settings, bench.weights).state


class Gate:
    """A home whose values wait until they are let through."""

    def __init__(self, home):
        self.home, self.held = home, []

    def __getattr__(self, name):
        return getattr(self.home, name)

    def upsert(self, table, *arguments):
        if table == "factors":
            self.held.append(arguments)
            return None
        return self.home.upsert(table, *arguments)

    def let_through(self):
        for arguments in self.held:
            self.home.upsert("factors", *arguments)


def scored(bench, cluster):
    """A run whose matches are stored and whose values are held back, and the gate that holds them."""
    run = bench.start(cluster, samples=30)
    gate = run.writer.home = Gate(bench.home)
    for symbol in run.symbols:
        run.score([symbol])
    run.finish()
    return gate


@pytest.mark.long
@pytest.mark.slow
def test_matches_of_a_run_that_died_do_not_stay_when_the_bars_go_back(bench, in_process, undisturbed):
    bench.run(in_process, samples=30)
    restate(bench, RESTATED)
    scored(bench, in_process)
    restate(bench, FRAME)
    assert state(bench) == "cut off"
    report = bench.run(in_process, samples=30)
    assert report.count("done") > 0
    assert tables(bench) == undisturbed["before"]
    assert state(bench) == "sound"
    assert bench.run(in_process, samples=30).count("done") == 0


@pytest.mark.slow
def test_two_runs_whose_commits_interleave(bench, in_process, undisturbed):
    slower = scored(bench, in_process)
    restate(bench, RESTATED)
    bench.run(in_process, samples=30)
    slower.let_through()
    # Values of the bars of before, and matches of the restated ones.
    restate(bench, FRAME)
    assert state(bench) == "cut off"
    bench.run(in_process, samples=30)
    assert tables(bench) == undisturbed["before"]
    assert state(bench) == "sound"


@pytest.mark.slow
def test_lost_matches_are_made_again(bench, in_process, undisturbed):
    bench.run(in_process, samples=30)
    bench.home.delete("matches", ["S00000", "S00002"])
    report = verify(bench.home, bench.settings, bench.weights)
    assert report.state == "damaged"
    assert {finding.remedy for finding in report.findings} == {
        "run `kline run` again on these symbols, which computes them anew"
    }
    bench.run(in_process, samples=30)
    assert tables(bench) == undisturbed["before"]


@pytest.mark.slow
def test_matches_that_cannot_be_read_are_said_before_anything_is_computed(bench, in_process):
    bench.run(in_process, samples=30)
    for file in (bench.home.folder / "matches").glob("*.parquet"):
        file.unlink()
    key = StateKey.newest(bench.home, bench.settings, bench.weights, "cpu")
    assert key == bench.key
    with pytest.raises(HomeError, match="cannot read table matches"):
        bench.start(in_process, samples=30)
