"""A plan beside what then happens: patterns to the last one, memory and files by their bytes. No test looks at time."""

import json
from dataclasses import replace

import pytest

import kline_core as kl
from kline_core._cache import loaded
from kline_core.api.plan import plan
from kline_core.bars.bars_cache import BarsKey
from kline_core.errors import HomeError, SettingError
from kline_core.factor.shard import ShardKey
from kline_core.factor.state import loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.planning.held_bytes import held_bytes
from kline_core.planning.projection import memory_of
from kline_core.planning.rehearsal import table_bytes
from kline_core.settings import FactorSettings, Settings
from kline_core.store.home import Home
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import make_home, market, write_encoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("weights") / "weights.safetensors")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_home(tmp_path_factory.mktemp("planned") / "home", market(12, 300, seed=4)).folder


@pytest.fixture(scope="module")
def made(place, weights):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    found = plan(
        place,
        settings=SMALL_SETTINGS,
        samples=50,
        years=0.5,
        encoder=weights,
        device="cpu",
        rehearsed=4_000,
        memory=64.0,
    )
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before, "a plan changes nothing"
    return found


@pytest.fixture(scope="module")
def done(place, made, weights):  # noqa: ARG001  planned before it is done
    """The home after the jobs that were planned."""
    home = Home(place)
    update = kl.update_patterns(home, settings=SMALL_SETTINGS.patterns, encoder=weights, device="cpu")
    asked = {"settings": SMALL_SETTINGS, "encoder": weights, "device": "cpu", "check": False}
    report = kl.compute_factor(home, samples=50, **asked).report
    return home, update, report


def test_patterns_and_samples_are_counted_exactly(made, done):
    _, update, report = done
    assert made.extent.patterns == update.total
    assert made.extent.first.samples == report.count("samples")
    assert made.extent.symbols == made.extent.new_patterns == 12


def test_memory_is_that_of_the_loaded_state(made, done, weights):
    key = StateKey.newest(done[0], SMALL_SETTINGS, weights, "cpu")
    held = held_bytes(loaded_state(key), key.catalogue.windows(), BarsKey.newest(done[0]).frames())
    assert made.memory.loaded - made.memory.program == pytest.approx(held, rel=0.05)
    assert made.memory.program < made.memory.loaded < made.memory.peak


def test_files_have_the_planned_sizes(made, done):
    home = done[0]
    assert made.disk["bars"] == table_bytes(home, "bars")
    assert made.disk["patterns"] == pytest.approx(table_bytes(home, "patterns"), rel=0.2)
    values = table_bytes(home, "factors") + table_bytes(home, "matches")
    assert made.disk["values of the first run"] == pytest.approx(values, rel=0.3)


def test_every_job_takes_time_and_the_text_says_where_it_comes_from(made):
    assert [job.name for job in made.jobs] == ["index", "daily", "first", "backfill"]
    assert all(0 < job.fixed < job.seconds for job in made.jobs)
    text = made.text()
    assert "counted: 12 symbols, 3,600 bars, " in text
    assert "computed: a worker fits into 64.00 GB, with up to " in text
    assert "projected, with one worker on this machine:" in text
    assert "vectors are read from disk" not in text
    large = replace(made, memory=replace(made.memory, vectors_on_disk=2_560_000_000))
    assert "computed: 2.56 GB of vectors are read from disk, 8 bits of each number are held" in large.text()
    document = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert document["counted"]["patterns"] == made.extent.patterns
    assert document["computed"]["disk_bytes"]["bars"] == made.disk["bars"]


def test_workers_are_counted_for_a_time(made):
    slowest = max(made.jobs, key=lambda job: job.divided)
    half = replace(made, within=slowest.fixed + slowest.divided / 1.5)
    assert f"workers for {half.within:g} s" in half.text()
    assert slowest.workers(half.within) == 2
    never = replace(made, within=slowest.fixed / 2)
    line = next(line for line in never.text().splitlines() if line.startswith("none: "))
    assert f" s of {slowest.name}" in line
    assert "cannot be divided, since each worker loads everything and one process stores" in line
    assert {job["workers"] for job in never.to_dict()["projected"] if job["name"] == slowest.name} == {None}


def test_a_memory_that_is_too_small_names_a_stride_that_fits(made):
    memory = replace(made.memory, patterns_within=made.extent.patterns // 3)
    tight = replace(made, memory=memory)
    assert tight.stride_within in (3, 4)
    assert f"--pattern-stride {tight.stride_within}" in tight.text()
    none = replace(made, memory=replace(made.memory, patterns_within=-1))
    assert "even without patterns" in none.text()
    assert none.stride_within is None


def test_a_memory_that_is_too_small_names_the_shards_that_fit(made):
    tight = replace(made.memory, patterns_within=made.extent.patterns // 3, shards_within=5)
    text = replace(made, memory=tight).text()
    assert f"since each loads all; {tight.patterns_within:,} patterns would, as with --pattern-stride " in text
    assert "; all would in 5 shards, each on a worker of its own (--shards 5)" in text
    none = replace(tight, shards_within=None)
    assert "no number of shards would do" in replace(made, memory=none).text()


def test_a_worker_with_a_shard_has_the_memory_of_its_loaded_state(made, done, weights):
    key = replace(StateKey.newest(done[0], SMALL_SETTINGS, weights, "cpu"), shards=3)
    planned = memory_of(made.extent, made.rehearsal, None, shards=3)
    held = held_bytes(
        loaded(key), loaded(ShardKey.of(key, 0)), key.catalogue.windows(), BarsKey.newest(done[0]).frames()
    )
    assert planned.loaded - planned.program == pytest.approx(held, rel=0.05)
    text = replace(made, memory=planned).text()
    assert "computed: memory of a worker with one of 3 shards " in text
    tight = replace(planned, patterns_within=5, shards_within=None)
    assert "no worker with one of 3 shards fits into 64.00 GB, since each loads all but the vectors, and its share" in (
        replace(made, memory=tight).text()
    )
    assert "projected, with one worker on this machine, which holds all:" in text


def test_a_home_whose_patterns_are_there_has_their_size(done, weights):
    again = plan(done[0], settings=SMALL_SETTINGS, encoder=weights, device="cpu", rehearsed=1_000)
    assert again.disk["patterns"] == table_bytes(done[0], "patterns")


@pytest.mark.long
def test_full_mode_holds_the_shapes_of_its_patterns_too(done, weights):
    settings = Settings(SMALL_SETTINGS.patterns, FactorSettings.of_mode("full", return_horizon=3, isolation_bars=5))
    found = plan(done[0], settings=settings, encoder=weights, device="cpu", rehearsed=1_000)
    key = StateKey.newest(done[0], settings, weights, "cpu")
    state = loaded_state(key)
    held = held_bytes(state, state.shapes.shapes(), key.catalogue.windows())
    assert found.memory.loaded - found.memory.program == pytest.approx(held, rel=0.05)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "neither a home nor a market is named; give --home FOLDER, or --symbols N and --years Y"),
        ({"symbols": 5}, "neither a home nor a market is named"),
        ({"symbols": 5, "years": 5, "within": 0.0}, "within is 0.0; it must be a finite number above 0"),
        ({"symbols": 5, "years": 5, "memory": float("nan")}, "memory is nan; it must be a finite number above 0"),
        ({"symbols": 5, "years": 5, "samples": 0}, "samples is 0; it must be at least 1"),
        ({"symbols": 5, "years": 5, "shards": 0}, "shards is 0; it must be 1 to 1024"),
        (
            {"symbols": 5, "years": 5, "settings": Settings.preset("seed", index="ivf")},
            "index is 'ivf'; it must be exact",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_before_any_measurement(asked, says):
    with pytest.raises(SettingError, match=says):
        plan(**asked)


def test_a_home_without_bars_is_refused(tmp_path):
    with pytest.raises(HomeError, match="holds no bars to plan for; ingest some, or give symbols and years"):
        plan(Home(tmp_path / "home", create=True))
