import shutil

import numpy as np
import pyarrow.compute as pc
import pytest

from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.encoder.encoder import Encoder
from kline_core.errors import EncoderError, HomeError, SettingError, StaleError
from kline_core.factor.state_key import StateKey
from kline_core.patterns import encode as encoding_module
from kline_core.patterns import update
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import PatternsUpdate, RemovalError, update_patterns
from kline_core.settings import METHOD, FactorSettings, PatternSettings, Settings, pattern_fingerprint
from kline_core.store.home import Home, TableChangedError
from kline_core.store.writing import TableWriter
from kline_core.windows.outcomes import outcomes
from tests.support.candles import charts_of_windows
from tests.support.homes import SMALL, WINDOW_BARS, add_bars, make_home, market, replace_bars, write_encoder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture(scope="module")
def encoder(weights):
    return Encoder.load(weights, "cpu")


@pytest.fixture(scope="module")
def encoding(encoder):
    return LocalWindowEncoder(encoder)


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home", market())


class Removing:
    """An encoding under which the home is removed."""

    def __init__(self, encoding, home):
        self._encoding, self._home = encoding, home
        self.fingerprint, self.window_bars, self.dim = encoding.fingerprint, encoding.window_bars, encoding.dim

    def vectors(self, *arguments):
        made = self._encoding.vectors(*arguments)
        shutil.rmtree(self._home.folder)
        return made


@pytest.mark.slow
def test_a_home_that_goes_meanwhile_is_not_made_again(home, encoding):
    with pytest.raises(HomeError, match="is gone"):
        update_patterns(home, SMALL, Removing(encoding, home))
    assert not home.folder.exists()
    with pytest.raises(HomeError, match="is gone"):
        update_patterns(home, SMALL, encoding)
    assert not home.folder.exists()


def rows(home, version=None):
    return home.read("patterns", version=version).sort_by(
        [("known_on", "ascending"), ("symbol", "ascending"), ("end", "ascending")]
    )


def keys(table):
    return list(zip(table["symbol"].to_pylist(), table["end"].to_pylist(), strict=True))


@pytest.mark.slow
def test_every_known_window_becomes_a_pattern_with_its_vector_and_outcomes(home, encoder, encoding):
    report = update_patterns(home, SMALL, encoding)
    version, bars = home.version("patterns"), BarsKey.newest(home)
    assert report == PatternsUpdate(63, 0, 63, [], version, "patterns", bars)
    counts = {"added": 63, "removed": 0, "total": 63, "restated": []}
    assert report.to_dict() == counts | {"version": version, "table": "patterns", "bars": bars.version}
    table = rows(home)
    frames = bars_by_symbol(home.read("bars"))
    assert table.num_rows == len(build_catalogue(frames, SMALL)) == 3 * 21
    vectors = {
        symbol: encoder.encode(charts_of_windows(bars, np.arange(4, 30), WINDOW_BARS))
        for symbol, bars in frames.items()
    }
    for row in table.to_pylist():
        bars = frames[row["symbol"]]
        end = bars.dates.tolist().index(row["end"])
        assert row["known_on"] == bars.dates[end + 5].item()
        expected = outcomes(
            bars.dates, bars.open, bars.high, bars.low, bars.close, np.array([end], dtype=np.int64), SMALL
        )
        np.testing.assert_array_equal(np.float32([row["r1"], row["r3"]]), expected.returns[0])
        assert row["barrier"] == expected.barrier[0]
        # Float32, little-endian, bit for bit what encoding the chart in other company gives.
        assert row["vector"] == vectors[row["symbol"]][end - 4].astype("<f4").tobytes()


@pytest.mark.slow
def test_the_order_is_that_of_known_on(home, encoding):
    update_patterns(home, SMALL, encoding)
    assert home.read("patterns").equals(rows(home))


@pytest.mark.slow
def test_the_table_says_what_it_was_made_with(home, encoding):
    update_patterns(home, SMALL, encoding)
    assert home.description("patterns") == {
        "fingerprint": pattern_fingerprint(SMALL, encoding.fingerprint),
        "settings": SMALL.to_dict(),
        "encoder": encoding.fingerprint,
        "method": METHOD,
    }


@pytest.mark.slow
def test_a_second_call_adds_nothing(home, encoding):
    first = update_patterns(home, SMALL, encoding)
    before = rows(home)
    again = update_patterns(home, SMALL, encoding)
    assert again == PatternsUpdate(0, 0, 63, [], first.version, "patterns", first.bars)
    assert home.version("patterns") == first.version
    assert rows(home).equals(before)


@pytest.mark.slow
def test_one_more_day_adds_what_has_become_known(tmp_path, encoding):
    frame = market()
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[frame["date"] < last])
    first = update_patterns(home, SMALL, encoding)
    before = rows(home)
    add_bars(home, frame[frame["date"] == last])
    report = update_patterns(home, SMALL, encoding)
    assert (report.added, report.removed, report.total, report.restated) == (3, 0, 63, [])
    after = rows(home)
    assert after.slice(0, first.total).equals(before)
    assert set(after.slice(first.total)["known_on"].to_pylist()) == {last.date()}

    whole = make_home(tmp_path / "whole", frame)
    update_patterns(whole, SMALL, encoding)
    assert after.equals(rows(whole))


@pytest.mark.slow
def test_a_restated_symbol_is_made_again_and_no_other(home, encoding):
    update_patterns(home, SMALL, encoding)
    before = rows(home)
    frame = market()
    restated = (frame["symbol"] == "S00001") & (frame["date"] < frame["date"].iloc[12])
    frame.loc[restated, "adj_factor"] = 0.5
    replace_bars(home, frame, "S00001")
    report = update_patterns(home, SMALL, encoding)
    assert (report.added, report.removed, report.total, report.restated) == (21, 21, 63, ["S00001"])
    after = rows(home)
    for table in (before, after):
        assert len(set(keys(table))) == 63
    others = pc.not_equal(before["symbol"], "S00001")
    assert after.filter(pc.not_equal(after["symbol"], "S00001")).equals(before.filter(others))
    fresh = make_home(home.folder / "fresh", frame)
    update_patterns(fresh, SMALL, encoding)
    assert after.equals(rows(fresh))
    assert update_patterns(home, SMALL, encoding).added == 0


@pytest.mark.slow
def test_corrected_volumes_restate_nothing(home, encoding):
    update_patterns(home, SMALL, encoding)
    frame = market()
    frame["volume"] *= 2
    for symbol in ("S00000", "S00001", "S00002"):
        replace_bars(home, frame, symbol)
    assert update_patterns(home, SMALL, encoding).to_dict()["restated"] == []


@pytest.mark.slow
def test_a_symbol_that_is_gone_takes_its_patterns_along(home, encoding):
    update_patterns(home, SMALL, encoding)
    home.delete("bars", ["S00002"])
    report = update_patterns(home, SMALL, encoding, max_removed_share=0.34)
    assert (report.added, report.removed, report.total, report.restated) == (0, 21, 42, ["S00002"])
    assert set(rows(home)["symbol"].to_pylist()) == {"S00000", "S00001"}


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.2, 0.33])
def test_patterns_whose_bars_vanished_are_not_removed_unasked(home, encoding, share):
    version = update_patterns(home, SMALL, encoding).version
    home.delete("bars", ["S00002"])
    with pytest.raises(
        RemovalError, match=r"21 of 63 patterns of .* \(33%\) would be removed.*--max-removed-share 1"
    ) as caught:
        update_patterns(home, SMALL, encoding, max_removed_share=share)
    assert (caught.value.removed, caught.value.max_removed_share) == (21, share)
    assert home.version("patterns") == version


@pytest.mark.slow
def test_all_patterns_made_again_are_none_removed_for_good(home, encoding):
    """A vendor that adjusts forward restates whole histories, and every window comes back."""
    update_patterns(home, SMALL, encoding)
    for symbol in ("S00000", "S00001", "S00002"):
        replace_bars(home, market(seed=1), symbol)
    report = update_patterns(home, SMALL, encoding, max_removed_share=0)
    assert (report.added, report.removed, report.total) == (63, 63, 63)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_bounds_is_refused(home, encoding, share):
    with pytest.raises(SettingError, match=r"max_removed_share is .*between 0 and 1"):
        update_patterns(home, SMALL, encoding, max_removed_share=share)


@pytest.mark.slow
def test_the_slower_of_two_first_updates_goes_on_with_the_table_of_the_other(home, encoding, monkeypatch):
    make = TableWriter.make

    def overtaken(self, *given, **named):
        monkeypatch.setattr(TableWriter, "make", make)
        make(self, *given, **named)
        return make(self, *given, **named)

    monkeypatch.setattr(TableWriter, "make", overtaken)
    assert update_patterns(home, SMALL, encoding).total == 63
    assert home.read("patterns").num_rows == 63


@pytest.mark.slow
def test_history_that_arrives_late_is_added(tmp_path, encoding):
    frame = market()
    late = frame["date"] < frame["date"].iloc[8]
    home = make_home(tmp_path / "home", frame[~late])
    assert update_patterns(home, SMALL, encoding).added == 3 * 13
    add_bars(home, frame[late])
    report = update_patterns(home, SMALL, encoding)
    assert (report.added, report.removed, report.total) == (24, 0, 63)
    whole = make_home(tmp_path / "whole", frame)
    update_patterns(whole, SMALL, encoding)
    assert rows(home).equals(rows(whole))


@pytest.mark.slow
def test_an_interrupted_call_leaves_whole_commits_and_is_healed(tmp_path, encoding, monkeypatch):
    whole = make_home(tmp_path / "whole", market())
    update_patterns(whole, SMALL, encoding)
    home = make_home(tmp_path / "home", market())
    monkeypatch.setattr(update, "COMMIT", 10)
    append, calls = Home.append, []

    def cut_off(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return append(self, *args, **kwargs)

    with monkeypatch.context() as context:
        context.setattr(Home, "append", cut_off)
        with pytest.raises(KeyboardInterrupt):
            update_patterns(home, SMALL, encoding)
    assert rows(home).equals(rows(whole).slice(0, 20)), "what became known first was written first"
    report = update_patterns(home, SMALL, encoding)
    assert (report.added, report.removed, report.total) == (43, 0, 63)
    assert rows(home).equals(rows(whole))
    assert home.read("patterns").num_rows == 63


@pytest.mark.slow
def test_an_interrupted_restatement_is_healed(home, encoding, monkeypatch):
    update_patterns(home, SMALL, encoding)
    frame = market()
    later = frame["date"] > frame["date"].iloc[14]
    frame.loc[(frame["symbol"] == "S00001") & later, "adj_factor"] = 2.0
    replace_bars(home, frame, "S00001")
    with monkeypatch.context() as context:
        context.setattr(LocalWindowEncoder, "vectors", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            update_patterns(home, SMALL, encoding)
    report = update_patterns(home, SMALL, encoding)
    assert report.total == rows(home).num_rows == 63
    fresh = make_home(home.folder / "fresh", frame)
    update_patterns(fresh, SMALL, encoding)
    assert rows(home).equals(rows(fresh))


@pytest.mark.slow
def test_however_the_work_is_cut_the_table_is_the_same(tmp_path, encoder, monkeypatch):
    made = []
    for number, (commit, piece, threads) in enumerate([(250_000, 2048, 1), (17, 5, 3)]):
        monkeypatch.setattr(update, "COMMIT", commit)
        monkeypatch.setattr(encoding_module, "SLICE", piece)
        home = make_home(tmp_path / str(number), market())
        progress = []
        update_patterns(
            home, SMALL, LocalWindowEncoder(encoder, threads), progress=lambda *at, to=progress: to.append(at)
        )
        assert [total for _, total in progress] == [63] * len(progress)
        assert [done for done, _ in progress] == sorted({done for done, _ in progress})
        assert progress[-1] == (63, 63)
        made.append(rows(home))
    assert made[0].equals(made[1])


@pytest.mark.slow
def test_who_encodes_is_told_the_version_that_was_read(home, encoding, monkeypatch):
    """Workers load the bars by it: windows are ordinals of bars, and bars may arrive in between."""
    version, told, late = Home.version, [], [market(1, 30, seed=1, prefix="A")]

    def overtaken(self, table):
        found = version(self, table)
        if table == "bars" and late:
            add_bars(self, late.pop())
        return found

    def vectors(self, bars, *rest):
        told.append((bars.version, sorted(bars.frames())))
        return encode(self, bars, *rest)

    encode = LocalWindowEncoder.vectors
    monkeypatch.setattr(LocalWindowEncoder, "vectors", vectors)
    with monkeypatch.context() as context:
        context.setattr(Home, "version", overtaken)
        assert update_patterns(home, SMALL, encoding).total == 63
    ((read, symbols),) = told
    assert symbols == sorted(bars_by_symbol(home.read("bars", version=read))) == ["S00000", "S00001", "S00002"]
    assert sorted(bars_by_symbol(home.read("bars"))) == ["A00000", *symbols]


@pytest.mark.slow
def test_two_calls_at_the_same_time_do_not_add_twice(home, encoding, monkeypatch):
    encode = LocalWindowEncoder.vectors

    def overtaken(*args):
        with monkeypatch.context() as context:
            context.setattr(LocalWindowEncoder, "vectors", encode)
            update_patterns(home, SMALL, encoding)
        return encode(*args)

    with monkeypatch.context() as context:
        context.setattr(LocalWindowEncoder, "vectors", overtaken)
        with pytest.raises(TableChangedError, match="another writer; try again"):
            update_patterns(home, SMALL, encoding)
    assert update_patterns(home, SMALL, encoding).added == 0
    assert rows(home).num_rows == 63


@pytest.mark.slow
def test_of_two_calls_over_a_restated_symbol_one_gives_up(home, encoding, monkeypatch):
    frame = market()
    update_patterns(home, SMALL, encoding)
    replace_bars(home, frame.assign(close=frame["high"]), "S00001")
    compared = update.loaded

    def overtaken(key):
        found = compared(key)
        monkeypatch.setattr(update, "loaded", compared)
        update_patterns(home, SMALL, encoding)
        return found

    monkeypatch.setattr(update, "loaded", overtaken)
    with pytest.raises(TableChangedError):
        update_patterns(home, SMALL, encoding)
    table = rows(home)
    assert len(set(keys(table))) == table.num_rows == 63


@pytest.mark.slow
def test_rebuilding_takes_other_settings(home, encoding, tmp_path):
    update_patterns(home, SMALL, encoding)
    settings = PatternSettings(6, horizons=(2,), barrier_bars=3)
    other = Encoder.load(write_encoder(tmp_path / "w", dim=4, window_bars=6), "cpu")
    report = update_patterns(home, settings, LocalWindowEncoder(other), rebuild=True)
    assert (report.added, report.removed, report.total) == (63, 0, 63)
    table = rows(home)
    assert table.num_rows == 63
    assert table.column_names == ["symbol", "end", "known_on", "r2", "barrier", "content", "vector"]
    assert home.description("patterns")["encoder"] == other.fingerprint
    assert update_patterns(home, settings, LocalWindowEncoder(other)).added == 0


@pytest.mark.slow
def test_rebuilding_with_the_same_settings_gives_the_same(home, encoding):
    update_patterns(home, SMALL, encoding)
    before = rows(home)
    assert update_patterns(home, SMALL, encoding, rebuild=True).added == 63
    assert rows(home).equals(before)


@pytest.mark.slow
def test_rebuilding_heals_a_table_that_lost_its_files(home, encoding):
    update_patterns(home, SMALL, encoding)
    before = rows(home)
    for file in (home.folder / "patterns").glob("*.parquet"):
        file.unlink()
    with pytest.raises(HomeError, match="cannot read table patterns"):
        update_patterns(home, SMALL, encoding)
    update_patterns(home, SMALL, encoding, rebuild=True)
    assert rows(home).equals(before)


class Stopped:
    """An encoder during whose work the user presses Ctrl-C."""

    fingerprint, window_bars, dim = "0" * 16, WINDOW_BARS, 8

    def vectors(self, *_):
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_rebuild_that_is_interrupted_while_it_encodes_leaves_all_as_it_was(home, encoding):
    update_patterns(home, SMALL, encoding)
    before, version, description = rows(home), home.version("patterns"), home.description("patterns")
    with pytest.raises(KeyboardInterrupt) as stop:
        update_patterns(home, SMALL, Stopped(), rebuild=True)
    assert str(stop.value) == "", "nothing has happened that would have to be told"
    assert (home.version("patterns"), home.description("patterns")) == (version, description)
    assert rows(home).equals(before)


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 1])
def test_a_rebuild_that_is_interrupted_while_it_writes_says_so_and_no_run_takes_the_half(
    home, weights, encoding, monkeypatch, written
):
    update_patterns(home, SMALL, encoding)
    before = rows(home)
    monkeypatch.setattr(update, "COMMIT", 40)
    append, left = Home.append, iter(range(written))

    def interrupted(self, *args, **options):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return append(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Home, "append", interrupted)
        with pytest.raises(KeyboardInterrupt, match="while the patterns were replaced; run `kline index`"):
            update_patterns(home, SMALL, encoding, rebuild=True)
    assert rows(home).num_rows == 40 * written
    key = StateKey.newest(home, Settings(SMALL, FactorSettings(return_horizon=1)), weights)
    with pytest.raises(StaleError, match="run `kline index --window-bars"):
        key.load()
    assert update_patterns(home, SMALL, encoding).added == 63 - 40 * written
    assert rows(home).equals(before)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 2.0, np.nan, np.inf])
@pytest.mark.parametrize("rebuild", [False, True])
def test_vectors_that_have_not_the_length_1_are_never_stored(home, encoding, monkeypatch, value, rebuild):
    if rebuild:
        update_patterns(home, SMALL, encoding)
    before = home.version("patterns"), rows(home)
    right = LocalWindowEncoder.vectors

    def wrong(self, bars, windows, settings, progress=None):
        vectors = right(self, bars, windows, settings, progress)
        vectors[7] *= value
        return vectors

    monkeypatch.setattr(LocalWindowEncoder, "vectors", wrong)
    with pytest.raises(EncoderError, match=r"the vector of S0000\d 2020-\S+ has the length \S+, not 1"):
        update_patterns(home, SMALL, encoding, rebuild=rebuild)
    assert rows(home).num_rows == (63 if rebuild else 0)
    if rebuild:
        assert (home.version("patterns"), rows(home)) == before


def test_a_home_without_bars(tmp_path, encoding):
    home = Home(tmp_path / "home", create=True)
    for rebuild in (False, True):
        report = update_patterns(home, SMALL, encoding, rebuild=rebuild)
        assert report == PatternsUpdate(0, 0, 0, [], None, "patterns", BarsKey.newest(home))
    assert home.version("patterns") is None


def test_an_encoder_for_other_windows_is_refused(home, encoding):
    with pytest.raises(SettingError, match="window_bars is 20, but the encoder takes charts of 5 bars"):
        update_patterns(home, PatternSettings(), encoding)


def test_a_missing_home_is_named(tmp_path):
    with pytest.raises(HomeError, match="there is no home at"):
        Home(tmp_path / "nowhere")
