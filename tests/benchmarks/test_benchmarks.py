import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from kline_core import __version__
from kline_core._code import CODE
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.network import AttentionEncoder
from kline_core.errors import SettingError
from kline_core.store.home import Home
from tests.benchmarks import history
from tests.benchmarks import ingest as ingest_benchmark
from tests.benchmarks.__main__ import main
from tests.benchmarks.machine import Elsewhere, Peaks, best, description, leave_out
from tests.benchmarks.measured import Measured, Spread, added, middle_round, ratio
from tests.benchmarks.others import known_closes
from tests.benchmarks.ours import IN_PROCESS, Ours
from tests.benchmarks.question import Question, synthetic_home
from tests.benchmarks.roofline import Work, encoder_operations, least_work, search_operations
from tests.benchmarks.serial import Serial
from tests.benchmarks.speed_report import OURS, Results, document, limits, text

PEAKS = Peaks({1: {"one": 1e9, "other": 2e9}, 2: {"one": 3e9, "other": 4e9}}, {1: 1e9, 2: 2e9})


@pytest.fixture(scope="module")
def question(tmp_path_factory):
    home = synthetic_home(tmp_path_factory.mktemp("market"), 4, 150)
    return Question.of(home.uri, None, 60)


@pytest.fixture(scope="module")
def ours(question):
    found = Ours(question, IN_PROCESS, 2)
    yield found
    found.close()


def results(facts, stages):
    ways = {OURS: [Measured(1.0, 60, stages)], "slow": [Measured.scaled(5.0, {}, 30, 60)] * 2}
    said = dict.fromkeys(ways, "")
    return Results("2026-01-01", description(("numpy",)), "home", "S00000", facts, PEAKS, 0.5, ways, None, said)


# --- the ways


@pytest.mark.long
@pytest.mark.slow
def test_the_serial_way_gives_our_answers(question, ours):
    expected = ours.answers()
    check = Serial(question, 10).check(expected)
    assert check.samples == len(expected) == 60
    assert check.identical == 60
    assert 0 < ours.facts().with_value < 60
    assert check.difference_alone < 1e-4


@pytest.mark.long
@pytest.mark.slow
def test_another_answer_is_noticed(question, ours):
    expected = dict(ours.answers())
    one, other = [date for date, answer in expected.items() if answer.value is not None][:2]
    expected[one] = replace(expected[one], value=expected[one].value + 1e-15)
    expected[other] = replace(expected[other], matches=expected[other].matches[::-1])
    assert Serial(question, 10).check(expected).identical == 58


def test_a_part_of_the_samples_is_scaled_up(question):
    measured = Serial(question, 10).measure(3)
    assert measured.done == 10
    assert sum(measured.stages.values()) <= measured.seconds


def test_rounds_take_different_samples_from_all_years(question):
    loaded = question.load()
    rounds = [loaded.some(10, number) for number in range(6)]
    assert sorted(at for positions in rounds for at in positions) == list(range(60))
    assert loaded.some(100, 3) == list(range(60))


@pytest.mark.slow
def test_a_market_that_was_built_is_used_again(tmp_path):
    first = synthetic_home(tmp_path, 2, 60)
    assert synthetic_home(tmp_path, 2, 60).identity("patterns") == first.identity("patterns")


def test_stumpy_sees_the_windows_that_ours_sees(question):
    loaded = question.load()
    for date in loaded.dates[::7]:
        closes = known_closes(loaded, date)
        windows = np.lib.stride_tricks.sliding_window_view(np.append(np.full(19, np.nan), closes), 20)
        assert (~np.isnan(windows).any(axis=1)).sum() == loaded.state.patterns.n_known(date[None])[0]


# --- arithmetic


def test_scaling():
    measured = Measured.scaled(3.0, {"draw": 2.0, "search": 1.0}, 30, 600)
    assert measured == Measured(60.0, 30, {"draw": 40.0, "search": 20.0})
    assert added([{"draw": 1.0}, {"draw": 2.5}]) == {"draw": 3.5}


def test_ratio_of_medians_and_spread():
    slow = [Measured(seconds, 600) for seconds in (9.0, 30.0, 10.0)]
    fast = [Measured(seconds, 600) for seconds in (2.0, 1.0, 4.0, 3.0)]
    assert ratio(slow, fast) == 4.0
    assert Spread.of([9.0, 30.0, 10.0]) == Spread(10.0, 9.0, 30.0)
    assert middle_round(slow).seconds == 10.0
    assert middle_round(fast).seconds == 2.0


def test_operations_of_the_encoder():
    # By hand, a multiplication and an addition as two: places x taps x channels of each layer.
    convolutions = [
        (20 * 16, 3 * 8 * 1, 24),
        (20 * 8, 3 * 4 * 24, 48),
        (10 * 4, 3 * 3 * 48, 64),
        (10 * 2, 3 * 3 * 64, 128),
    ]
    attention = [(20, 128, 4 * 128), (20, 128, 20), (20, 20, 128)]
    by_hand = 2 * sum(a * b * c for a, b, c in [*convolutions, *attention, (1, 20 * 128, 64)])
    assert by_hand == 13_107_200
    with torch.random.fork_rng():
        assert encoder_operations(AttentionEncoder().eval()) == by_hand
    assert encoder_operations(Encoder.load(device="cpu").network) == by_hand


def test_operations_of_the_search():
    assert search_operations(64, np.array([0, 3, 10])) == 2 * 64 * 13


def test_least_work(question):
    state = question.load().state
    work = least_work(state, np.array([5, 100]))
    assert work["encode"].operations == 2 * 13_107_200
    assert work["search"] == Work(2 * 64 * 105, (2 + 100) * 64 * 4)
    assert work["render"] == Work(0, 2 * (20 * 4 * 8 + 60 * 64))
    assert work["factor"] == Work(0, 2 * 5 * (4 + 4 + 8 + 1 + 4 * 4))


def test_the_limit_is_the_longer_of_two_times():
    assert Work(8e9, 1e9).seconds(4e9, 2e9) == 2.0
    assert Work(1e9, 8e9).seconds(4e9, 2e9) == 4.0


def test_limits(ours):
    stages = {"plan": 0.2, "render": 0.2, "encode": 0.4, "search": 0.6, "factor": 0.1}
    work = {"render": Work(0, 2e8), "encode": Work(4e8, 0), "search": Work(8e8, 2e8), "factor": Work(0, 0)}
    found = limits(results(replace(ours.facts(), work=work), stages), OURS)
    rows = {row["stage"]: row for row in found}
    assert [row["limit"] for row in found] == pytest.approx([0.1, 0.1, 0.2, 0.0, 0.0, 0.4])
    assert [row["measured"] for row in found] == pytest.approx([0.1, 0.2, 0.3, 0.05, 0.35, 1.0])
    assert rows["search"]["times_limit"] == pytest.approx(1.5)
    assert rows["factor"]["times_limit"] is None
    assert rows["together"]["times_limit"] == pytest.approx(2.5)
    assert rows["together"]["operations"] == 12e8


def test_the_best_of_all_rounds_is_the_peak():
    other = Peaks({1: {"one": 5.0, "other": 3e9}, 2: {"one": 3e9, "other": 1.0}}, {1: 2e9, 2: 1.0})
    found = best([PEAKS, other])
    assert found.fastest(1) == ("other", 3e9)
    assert found.fastest(2) == ("other", 4e9)
    assert found.bytes == {1: 2e9, 2: 2e9}


@pytest.mark.parametrize(
    ("names", "told"), [("avx512_vnni", None), ("avx512_vnni,avx512f", "Haswell"), ("avx512f,avx2", "Nehalem")]
)
def test_abilities_that_are_left_out(monkeypatch, names, told):
    monkeypatch.setattr(os, "environ", {})
    leave_out(names)
    assert os.environ.get("OPENBLAS_CORETYPE") == told
    assert description(())["left_out"] == sorted(names.split(","))
    with pytest.raises(SettingError, match="KLINE_LEAVE_OUT names 'avx'"):
        leave_out("avx")


@pytest.mark.slow
def test_what_this_program_spends_is_not_spent_elsewhere():
    elsewhere = Elsewhere()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert 0 <= elsewhere.cores() <= psutil.cpu_count()


# --- report


def test_tables_and_document_agree(ours):
    found = results(ours.facts(), dict.fromkeys(("plan", "render", "encode", "search", "factor"), 0.1))
    shown, told = text(found), json.loads(json.dumps(document(found)))
    assert told["ways"]["slow"]["times_ours"] == 10.0
    slow = next(line for line in shown.splitlines() if line.startswith("slow"))
    assert "30, scaled up" in slow
    assert "10.00" in slow
    assert told["roofline"][OURS][-1]["measured"] == 1.0
    assert "other programs kept 0.50 cores busy meanwhile; measure again" in shown
    assert told["elsewhere"] == 0.5
    assert told["machine"]["versions"] == {"numpy": np.__version__}


def test_what_is_kept_of_versions_stands_side_by_side(tmp_path, ours):
    found = results(ours.facts(), dict.fromkeys(("plan", "render", "encode", "search", "factor"), 0.1))
    folder = tmp_path / "history"
    folder.mkdir()
    assert "nothing was kept" in history.text(folder)
    first = document(replace(found, machine=found.machine | {"processor": "AMD EPYC (avx2)", "left_out": []}))
    kept = history.keep(first | {"home": str(tmp_path / "home-135x3008")}, folder)
    assert kept.name == f"{__version__}-2026-01-01-amd-epyc-avx2.json"
    assert str(tmp_path) not in kept.read_text()
    later = {"ways": {OURS: found.ways[OURS]}, "date": "2026-02-01"}
    narrow = found.machine | {"processor": "Any", "left_out": ["avx512f"]}
    history.keep(document(replace(found, machine=narrow, **later)), folder)
    history.keep(document(replace(found, machine=narrow, **later)), folder)
    head, _, one, other = history.text(folder).splitlines()
    assert "times limit: ours, 2 threads" in head
    assert "times ours: slow" in head
    assert "AMD EPYC (avx2)" in one
    assert one.split()[-1] == "10.00"
    assert "Any without avx512f" in other
    assert "10.00" not in other, "a way that was left out"
    kept = json.loads(next(folder.glob("*avx512f*")).read_text())
    assert (kept["version"], kept["code"], kept["date"]) == (__version__, CODE, "2026-02-01")


@pytest.mark.long
@pytest.mark.slow
def test_the_command(tmp_path, question):
    command = [sys.executable, "-m", "tests.benchmarks", "--home", question.key.home, "--symbol", "S00001"]
    command += [
        "--samples",
        "20",
        "--rounds",
        "1",
        "--only",
        "c",
        "--without",
        "avx512_vnni",
        "--json",
        str(tmp_path / "found.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "20 samples of S00001" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert f"{found['machine']['processor']} without avx512_vnni, " in done.stdout
    assert list(found["ways"]) == ["c ours, done serially", OURS]
    assert found["check"]["identical"] == 20


def test_unknown_ways_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--place", str(tmp_path), "--only", "a,x"])
    assert raised.value.code == 2
    assert "give some of a,b,c,d,e" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- ingest


@pytest.mark.long
def test_an_ingest_beside_pyarrow(tmp_path, capsys):
    ingest_benchmark.main(
        [
            "--files",
            "3",
            "--rows",
            "20",
            "--rounds",
            "1",
            "--place",
            str(tmp_path),
            "--json",
            str(tmp_path / "found.json"),
        ]
    )
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[2:5]] == ["pyarrow", "first", "again"]
    found = json.loads((tmp_path / "found.json").read_text())["ways"]
    assert [found[way][0]["rows"] for way in found] == [60, 60, 60]
    assert Home(tmp_path / "home").version("bars") == 2
    assert ingest_benchmark.write_files(tmp_path, 3, 20) == tmp_path / "files-3-20"
