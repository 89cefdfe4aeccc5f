"""Every remedy that is named heals what it is named for."""

import shutil
from shlex import quote

import numpy as np
import pytest

import kline_core as kl
from kline_core import _cache
from kline_core.errors import KlineError
from kline_core.store.remedies import DAMAGED_FILE, NEW_BARS, NEW_VALUES, REBUILD, RUN, UNREADABLE, with_options
from tests.support.damage import checked, of_ok, put, rewrite

KEYS = {"patterns": ["symbol", "end"], "factors": ["symbol", "date"], "matches": ["symbol", "date", "rank"]}


def rows(bench):
    found = {}
    for table, keys in KEYS.items():
        read = bench.home.read(table).drop_columns(["run_id"] if table != "patterns" else [])
        # By their texts, for which NaN equals NaN.
        found[table] = [*map(repr, read.sort_by([(key, "ascending") for key in keys]).to_pylist())]
    return found


def refused(act):
    with pytest.raises(KlineError) as caught:
        act()
    return str(caught.value)


def remedies(bench):
    return {finding.remedy for finding in checked(bench).findings}


def run(bench, cluster):
    bench.run(cluster, samples=40, max_failed_share=1)


def rebuild(bench):
    kl.update_patterns(bench.home, settings=bench.settings.patterns, encoder=bench.weights, device="cpu", rebuild=True)


@pytest.fixture
def forget(monkeypatch):
    """What the process holds, which is right in spite of the damage."""
    return lambda: monkeypatch.setattr(_cache, "_caches", {})


@pytest.fixture
def before(bench, in_process):
    run(bench, in_process)
    return rows(bench)


def assert_healed(bench, cluster, before):
    run(bench, cluster)
    report = checked(bench)
    assert report.state == "sound", report.text()
    assert rows(bench) == before


@pytest.mark.slow
def test_a_damaged_vector(bench, before, in_process, forget):
    rewrite(bench.home, "patterns", put("vector", np.full(8, 2.0, "<f4").tobytes()))
    forget()
    advice = with_options(REBUILD, bench.settings.patterns.options)
    assert advice == "run `kline index --window-bars 5 --horizons 1,3 --barrier-bars 4 --rebuild`"
    encoder = f"{bench.settings.patterns.options} --encoder {quote(str(bench.weights))}"
    assert refused(lambda: run(bench, in_process)).endswith(with_options(REBUILD, encoder))
    assert remedies(bench) == {advice}
    rebuild(bench)
    forget()
    assert_healed(bench, in_process, before)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["patterns", "factors", "matches"])
def test_a_table_whose_files_cannot_be_read(bench, before, in_process, forget, table):
    for file in (bench.home.folder / table).glob("*.parquet"):
        file.write_bytes(b"garbage" * 100)
    forget()
    said = refused(lambda: run(bench, in_process))
    assert remedies(bench) == {UNREADABLE[table]}
    assert said.endswith(DAMAGED_FILE[table])
    for name in ("factors", "matches") if table != "patterns" else ("patterns",):
        shutil.rmtree(bench.home.folder / name)
    bench.extend()
    assert_healed(bench, in_process, before)


@pytest.mark.slow
def test_bars_that_cannot_be_read(bench, before, in_process, tmp_path, forget):
    shutil.copytree(bench.home.folder, tmp_path / "copy")
    for file in (bench.home.folder / "bars").glob("*.parquet"):
        file.write_bytes(b"garbage" * 100)
    forget()
    assert "the bars are damaged: restore that file or the home from a copy" in refused(lambda: run(bench, in_process))
    assert "the bars are damaged: restore that file or the home from a copy" in refused(bench.extend)
    assert remedies(bench) == {NEW_BARS}
    shutil.rmtree(bench.home.folder)
    shutil.copytree(tmp_path / "copy", bench.home.folder)
    assert_healed(bench, in_process, before)


@pytest.mark.slow
def test_a_value_that_changed_and_matches_that_are_gone(bench, before, in_process):
    rewrite(bench.home, "factors", of_ok("value", lambda value: value / 2 + 0.1))
    bench.home.delete("matches", ["S00001"])
    assert RUN in remedies(bench)
    assert_healed(bench, in_process, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "change"),
    [("factors", of_ok("return_cvar", 0.5)), ("matches", put("weight", lambda weight: weight * 2))],
)
def test_a_cell_that_no_run_looks_at(bench, before, in_process, table, change):
    rewrite(bench.home, table, change)
    assert remedies(bench) == {NEW_VALUES}
    for name in ("factors", "matches"):
        shutil.rmtree(bench.home.folder / name)
    assert_healed(bench, in_process, before)
