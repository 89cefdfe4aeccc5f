"""Patterns that are no longer wanted are removed, and only these."""

import json
import shutil
from dataclasses import replace

import pytest

from kline_core.api.removal import remove_patterns
from kline_core.cli.parser import main
from kline_core.compute.replay import replay_key
from kline_core.errors import FingerprintError, HomeError
from kline_core.maintenance.home_checks import check_home
from kline_core.maintenance.verify import verify
from kline_core.store.home import Home
from kline_core.store.run_records import RUNNING, read_record, write_record
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import SMALL, market

OTHER = replace(SMALL_SETTINGS, patterns=replace(SMALL, scales=(1, 2), scale_weights=(0.5, 0.5)))


@pytest.fixture(scope="module")
def made(tmp_path_factory, in_process, small_weights):
    """A home with patterns and values of two settings."""
    first = Bench.of(tmp_path_factory.mktemp("removal") / "home", market(3, 60, seed=2), weights=small_weights)
    second = Bench(first.home, OTHER, small_weights)
    second.extend()
    return [(bench, bench.run(in_process, samples=12).run_id) for bench in (first, second)]


@pytest.fixture
def both(made, tmp_path):
    shutil.copytree(made[0][0].home.folder, tmp_path / "home")
    home = Home(tmp_path / "home")
    return [(Bench(home, bench.settings, bench.weights), run) for bench, run in made]


def removed(bench):
    return remove_patterns(bench.home, settings=bench.settings.patterns, encoder=bench.weights)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_patterns_go_and_values_stay(both, which, in_process):
    (gone, run), (kept, other_run) = both[which], both[1 - which]
    home, table = gone.home, gone.key.patterns_table
    values, others = gone.rows("factors"), kept.rows("factors")
    count = home.row_count(table)
    found = removed(gone)
    assert (found.table, found.patterns, found.runs) == (table, count, 1)
    assert home.pattern_tables() == [kept.key.patterns_table]
    assert not (home.folder / table).exists()
    assert gone.rows("factors") == values == others
    # What is left works, and what is gone is said with what to do.
    assert verify(home, kept.settings, kept.weights).ok
    assert not [check for check in check_home(home) if check.state == "problem"]
    assert kept.run(in_process, samples=12).count("reused") > 0
    replay_key(home, read_record(home, other_run))
    with pytest.raises(HomeError, match="patterns"):
        replay_key(home, read_record(home, run))
    # They are made again, and values are those of before.
    gone.extend()
    assert home.row_count(gone.key.patterns_table) == count
    assert gone.run(in_process, samples=12).count("reused") > 0
    assert verify(home, gone.settings, gone.weights).state == "sound"


def test_what_is_not_there_is_named_with_what_is(both):
    bench, _ = both[0]
    third = replace(SMALL, barrier_up=0.04)
    before = bench.home.pattern_tables()
    with pytest.raises(FingerprintError, match="has no patterns of these settings") as caught:
        remove_patterns(bench.home, settings=third, encoder=bench.weights)
    assert "--scales 1,2" in str(caught.value)
    assert len(caught.value.stored) == 2
    # The bundled encoder made none of them.
    with pytest.raises(FingerprintError, match="nothing was removed"):
        remove_patterns(bench.home, settings=SMALL)
    assert bench.home.pattern_tables() == before
    for each, _ in both:
        removed(each)
    with pytest.raises(FingerprintError, match="it has none at all"):
        removed(bench)
    with pytest.raises(ValueError, match="table factors is not one of patterns"):
        bench.home.drop("factors")


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_a_run_that_may_be_at_work_keeps_its_patterns(both, host):
    """This process is there still; of one on another host nothing is known."""
    bench, run = both[1]
    record = read_record(bench.home, run)
    process = record.process if host is None else replace(record.process, host=host)
    write_record(bench.home, replace(record, state=RUNNING, ended=None, process=process))
    with pytest.raises(HomeError, match=f"run {run}, which reads patterns-.* is running"):
        removed(bench)
    # It does not read the other one.
    assert removed(both[0][0]).runs == 1
    write_record(bench.home, record)
    assert removed(bench).runs == 1


def test_a_record_that_cannot_be_read_may_be_of_a_reader(both):
    bench, run = both[0]
    (bench.home.folder / "runs" / f"{run}.json").write_text("{")
    with pytest.raises(HomeError, match="nothing was removed, since that run may read patterns"):
        removed(bench)


def test_a_removal_that_was_cut_off_leaves_no_table(both):
    """The log is gone, files are not: there is no table, and one is made in its place."""
    bench, _ = both[1]
    table = bench.key.patterns_table
    count = bench.home.row_count(table)
    folder = bench.home.folder / table
    shutil.rmtree(folder / "_checksums")
    (folder / "_delta_log").rename(folder / "removed_delta_log")
    assert bench.home.version(table) is None
    bench.extend()
    assert bench.home.row_count(table) == count


def test_the_command(both, capsys):
    bench, _ = both[1]
    options = ["--window-bars", "5", "--horizons", "1,3", "--barrier-bars", "4", "--encoder", bench.weights]
    words = ["--home", str(bench.home.folder), "index", *options, "--scales", "1,2", "--scale-weights", "0.5,0.5"]
    count = bench.home.row_count(bench.key.patterns_table)
    assert main([*words, "--remove", "--rebuild"]) == 1
    assert "--rebuild makes the patterns again, and --remove removes them" in capsys.readouterr().err
    assert main([*words, "--remove", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["patterns"], found["runs"]) == (count, 1)
    assert main([*words, "--remove"]) == 1
    assert "has no patterns of these settings and encoder" in capsys.readouterr().err
    assert main(["--home", str(bench.home.folder), "index", *options, "--remove"]) == 0
    assert "1 past runs read them, and cannot be replayed any more" in capsys.readouterr().out
