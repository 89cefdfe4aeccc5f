"""A home that an earlier version wrote is read, re-used and extended, and nothing of it is computed again.

`tests/golden/3/home` was written by the version that brought method 3: the first 150 days of
`synthetic_market(3, 160, seed=11).to_frame("2020-01-06", "S")`, with prices in cents, factors that move twice, amount
NaN and suspended False; patterns by the default encoder on the cpu; values by `compute_factor(max_failed_share=1.0)`;
default settings throughout. That version then added the other ten days in the same way; `tests/golden/3/later` holds
what its tables were after that. Whatever a later version changes in the form of tables, keys or hashes, such homes are
out there.

`tests/golden/1/home` and `tests/golden/2/home` were written in the same way by versions whose methods were 1 (prices
not in cents, all factors 1.0) and 2. Their values are still read, and a run says what to do. Method 3 differs from 2 by
unexplained jumps, of which these bars have none: so its values are those of 2.

Vectors may differ in their last bits between processors, since the sums of a matrix product are ordered by what the
processor can add up at once (AVX2, AVX-512). What is made of bars alone has to agree bit for bit everywhere. What is
made of vectors has to agree bit for bit where the vectors do, and otherwise within `CLOSE`; the seed is one by which
no match depends on that: moving every component of every vector by 1e-6 gave the same 1,648 matches, and values within
2e-6.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import kline_core
from kline_core.api.data import update_patterns
from kline_core.api.factor import compute_factor, read_factor
from kline_core.encoder.encoder import Encoder
from kline_core.errors import FingerprintError
from kline_core.maintenance.verify import verify
from kline_core.settings import METHOD, Settings
from kline_core.store.home import Home
from kline_core.store.remedies import ANEW
from kline_core.store.schemas import MANY

GOLDEN = Path(__file__).parents[1] / "golden" / "3"
OLD_METHODS = {method: GOLDEN.with_name(str(method)) / "home" for method in (1, 2)}
KEYS = {
    "bars": ["symbol", "date"],
    "patterns": ["symbol", "end"],
    "factors": ["symbol", "date"],
    "matches": ["symbol", "date", "rank"],
}
FROM_VECTORS = {
    *("vector", "similarity", "weight", "value", "barrier_win_rate", "return_win_rate"),
    *("return_mean", "return_median", "return_q05", "return_q25", "return_q75", "return_cvar"),
}
"""Numbers that similarities go into; those of a sample's matches do by their weights."""
DIGESTS = {"digest", "match_digest"}
"""Hashes of the bits of such numbers, so that they agree only where these do."""
CLOSE = 1e-5
LATER = "effective_matches"
"""A column of `factors` that none of these homes has."""
DAYS, LATER_DAYS, OLD_SAMPLES, SYMBOLS = 150, 10, 393, 3


def in_order(rows: pa.Table, table: str) -> pa.Table:
    """Rows in the order of their keys, without the run that made them and the columns that came later."""
    rows = rows.sort_by([(key, "ascending") for key in KEYS[table]])
    return rows.drop_columns([name for name in ("run_id", LATER, *MANY) if name in rows.column_names])


def later(table: str) -> pa.Table:
    """A table as the earlier version had it after all 160 days."""
    return pq.read_table(GOLDEN / "later" / f"{table}.parquet")


def copied(to: Path) -> Home:
    shutil.copytree(GOLDEN / "home", to)
    return Home(to)


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    if column.type == pa.binary():
        return np.frombuffer(b"".join(column.to_pylist()), "<f4")
    return column.to_numpy()


def assert_agree(rows: pa.Table, golden: pa.Table, table: str, exact: bool) -> None:
    """The same rows: bit for bit, or where `exact` is False within `CLOSE` for what vectors went into."""
    rows, golden = in_order(rows, table), in_order(golden, table)
    assert rows.column_names == golden.column_names
    for name in golden.column_names:
        if exact or name not in FROM_VECTORS | DIGESTS:
            # By their texts, which tell apart all numbers, and for which NaN equals NaN.
            assert [*map(repr, rows[name].to_pylist())] == [*map(repr, golden[name].to_pylist())], name
        elif name not in DIGESTS:
            np.testing.assert_allclose(numbers(rows[name]), numbers(golden[name]), rtol=0, atol=CLOSE, err_msg=name)


def computed(home: Home) -> SimpleNamespace:
    report = compute_factor(home, device="cpu", threads=2, max_failed_share=1.0).report
    assert report is not None
    names = ("samples", "done", "failed", "reused", "refreshed")
    return SimpleNamespace(**{name: report.count(name) for name in names})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return copied(tmp_path / "golden")


@pytest.fixture(scope="module")
def anew(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """What this version makes of the bars of 150 days."""
    home = Home(tmp_path_factory.mktemp("golden") / "anew", create=True)
    home.append("bars", Home(GOLDEN / "home").read("bars"))
    update_patterns(home, device="cpu")
    assert computed(home).done > 0
    # Digests among it, which other processors may have others of.
    assert verify(home).ok
    return home


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The golden home with ten days more, and what was done to it."""
    home = copied(tmp_path_factory.mktemp("golden") / "extended")
    before = home.version("patterns")
    bars = later("bars")
    days = np.unique(bars["date"].to_numpy())
    home.append("bars", bars.filter(pa.array(bars["date"].to_numpy() > days[DAYS - 1])))
    update = update_patterns(home, device="cpu")
    return SimpleNamespace(home=home, before=before, update=update, run=computed(home))


def same_vectors(home: Home, golden: pa.Table) -> bool:
    """Whether this machine's encoder gives the very numbers that the one did by which the home was written."""
    rows = in_order(home.read("patterns"), "patterns")
    return bool(rows["vector"].to_pylist() == in_order(golden, "patterns")["vector"].to_pylist())


@pytest.mark.slow
def test_it_is_sound(home: Home) -> None:
    report = verify(home)
    assert report.ok, report.text()
    assert report.notes == []
    assert report.rows == {"bars": 450, "patterns": 330, "factors": OLD_SAMPLES, "matches": 1498}


def test_its_names_are_still_those(home: Home) -> None:
    """Values are found by the fingerprint of settings and encoder, and patterns by what is written beside them."""
    fingerprint = Settings().fingerprint(Encoder.load(device="cpu").fingerprint)
    assert set(home.read("factors", ["fingerprint"])["fingerprint"].to_pylist()) == {fingerprint}
    assert METHOD == 3


@pytest.mark.slow
def test_nothing_of_it_is_computed_again(home: Home) -> None:
    versions = {table: home.version(table) for table in KEYS}
    update = update_patterns(home, device="cpu")
    assert (update.added, update.removed, update.restated) == (0, 0, [])
    run = computed(home)
    assert (run.samples, run.done, run.refreshed) == (OLD_SAMPLES, 0, 0)
    assert run.reused + run.failed == run.samples
    assert {table: home.version(table) for table in KEYS} == versions


@pytest.mark.slow
@pytest.mark.parametrize("table", ["patterns", "factors", "matches"])
def test_the_same_comes_of_its_bars_today(anew: Home, table: str) -> None:
    golden = Home(GOLDEN / "home")
    exact = same_vectors(anew, golden.read("patterns"))
    assert_agree(anew.read(table), golden.read(table), table, exact)


@pytest.mark.slow
def test_ten_days_more_add_what_is_new_and_leave_the_rest(extended: SimpleNamespace) -> None:
    assert (extended.update.added, extended.update.removed) == (SYMBOLS * LATER_DAYS, 0)
    assert extended.update.restated == []
    run = extended.run
    assert (run.samples, run.done, run.refreshed) == (OLD_SAMPLES + 30, SYMBOLS * LATER_DAYS, 0)
    assert run.reused + run.failed == OLD_SAMPLES
    # Rows that were there before are there still, bit for bit, with the runs that made them.
    golden = Home(GOLDEN / "home")
    for table, keys in KEYS.items():
        old, new = golden.read(table), extended.home.read(table)
        everything = set(map(str, new.to_pylist()))
        assert {str(row) for row in old.to_pylist()} <= everything, table
        assert len(everything) == new.num_rows > old.num_rows, keys


@pytest.mark.slow
@pytest.mark.parametrize("table", ["bars", "patterns", "factors", "matches"])
def test_with_ten_days_more_it_is_what_the_earlier_version_made_of_them(extended: SimpleNamespace, table: str) -> None:
    exact = same_vectors(extended.home, later("patterns"))
    assert_agree(extended.home.read(table), later(table), table, exact)
    assert verify(extended.home).ok


@pytest.mark.slow
def test_a_later_column_is_missing_in_rows_of_before_and_there_in_new_ones(extended: SimpleNamespace) -> None:
    assert Home(GOLDEN / "home").read("factors", [LATER])[LATER].null_count == OLD_SAMPLES
    rows = extended.home.read("factors").to_pandas()
    newest = np.sort(rows["date"].unique())[-LATER_DAYS:]
    new = rows["date"].isin(newest) & (rows["status"] == "ok")
    assert rows.loc[~new, LATER].isna().all()
    assert new.any()
    assert rows.loc[new, LATER].between(1, 5).all()
    frame = read_factor(extended.home).frame
    assert frame[LATER].isna().sum() == (~new).sum()


@pytest.fixture(params=OLD_METHODS)
def method(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def old(method: int, tmp_path: Path) -> Home:
    shutil.copytree(OLD_METHODS[method], tmp_path / "old")
    return Home(tmp_path / "old")


@pytest.mark.slow
def test_a_home_of_an_earlier_method_says_what_to_do(method: int, old: Home) -> None:
    for act in (update_patterns, computed):
        with pytest.raises(
            FingerprintError, match=rf"method {method} \(now asked for: 3\).*`kline index --rebuild`, then `kline"
        ):
            act(old)
    report = verify(old)
    assert report.state == "pending", report.text()
    assert report.headline.endswith(f"patterns: 1 tables that method {method} made, and this version's is 3")
    assert report.findings[0].remedy == "run `kline index --rebuild`, then `kline run`"


@pytest.mark.slow
def test_values_of_an_earlier_method_are_still_read_and_new_ones_stand_beside_them(old: Home) -> None:
    before = read_factor(old)
    assert len(before.values) == OLD_SAMPLES
    update_patterns(old, device="cpu", rebuild=True)
    assert computed(old).done > 0
    assert verify(old).ok
    with pytest.raises(FingerprintError, match="several fingerprints"):
        read_factor(old)
    after = read_factor(old, fingerprint=before.fingerprint)
    pd.testing.assert_series_equal(after.values, before.values)
    assert len(after.matches) == len(before.matches) > 0


def test_the_changelog_says_of_each_version_what_such_homes_have_to_do() -> None:
    text = (Path(kline_core.__file__).parents[1] / "CHANGELOG.md").read_text()
    versions = text.split("\n## ")[1:]
    assert all(each.count("\n### Upgrading\n") == 1 for each in versions)
    others = " and ".join(map(str, OLD_METHODS))
    assert f"- Homes of method {METHOD}: nothing." in versions[0]
    assert f"- Homes of methods {others}: {ANEW.removeprefix('run ')}." in versions[0]


def test_without_jumps_the_values_of_method_2_are_those_of_method_3() -> None:
    new, before = (Home(place).read("factors") for place in (GOLDEN / "home", OLD_METHODS[2]))
    rows = [in_order(each, "factors").drop_columns(["fingerprint", "match_digest"]) for each in (new, before)]
    assert_agree(*rows, "factors", rows[0].equals(rows[1]))
