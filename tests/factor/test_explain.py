"""The matches that a person is shown: those of a run, none of them from after the query's date."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from kline_core._text import percent
from kline_core.compute.opening import open_cluster
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.encoder.encoder import Encoder
from kline_core.errors import DateError, EncoderError, StaleError, UnknownSymbolError
from kline_core.factor.explain import explain_loaded, explain_sample
from kline_core.factor.state import load_state
from kline_core.factor.state_key import StateKey
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.settings import FactorSettings, Settings
from kline_core.symbol_lookup import AmbiguousSymbolError
from tests.support.homes import SMALL, WINDOW_BARS, add_bars, make_home, market, write_encoder

SETTINGS = Settings(SMALL, FactorSettings(return_horizon=3, top_k=3, min_matches=2, isolation_bars=4))
BARS = 60


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(write_encoder(tmp_path_factory.mktemp("weights") / "small.safetensors"))


@pytest.fixture(scope="module")
def bars():
    frame = market(3, BARS, seed=3)
    few = market(1, WINDOW_BARS - 1, seed=4, prefix="FEW")
    split = market(1, 12, seed=5, prefix="HOLE")
    later = split["date"] >= split["date"].unique()[6]
    split.loc[later, "date"] = split.loc[later, "date"] + pd.Timedelta(days=70)
    return pd.concat([frame, few, split], ignore_index=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory, bars, weights):
    home = make_home(tmp_path_factory.mktemp("match") / "home", bars)
    update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(weights), 1))
    return home


@pytest.fixture(scope="module")
def days(bars):
    return bars.loc[bars["symbol"] == "S00001", "date"].to_numpy().astype("datetime64[D]")


@pytest.mark.slow
def test_value_and_matches_are_those_of_a_run(home, days, weights):
    asked = days[[20, 35, BARS - 1]]
    with open_cluster(threads=1) as cluster:
        key = StateKey.newest(home, SETTINGS, weights)
        run_symbols(Run(home, cluster, key, Request(dates={"S00001": asked})))
    values = home.read("factors").to_pandas().set_index("date")
    stored = home.read("matches").to_pandas().sort_values("rank")
    for day in asked:
        view = explain_sample(home, "S00001", day, SETTINGS, weights)
        assert view.fingerprint == key.fingerprint
        assert view.factor["value"] == values.loc[day.item(), "value"]
        of_day = stored[stored["date"] == day.item()]
        frame = view.to_frame()
        assert len(frame) == 3
        for name in ("similarity", "weight", "r1", "r3", "barrier", "rank"):
            assert frame[name].tolist() == of_day[name].tolist()
        assert frame["symbol"].tolist() == of_day["match_symbol"].tolist()
        assert frame["end"].tolist() == of_day["match_end"].astype(str).tolist()


def test_bars_around_query_and_matches(home, bars, days, weights):
    view = explain_sample(home, "S00001", days[30], SETTINGS, weights)
    own = bars[bars["symbol"] == "S00001"].reset_index(drop=True)
    assert view.window.close.tolist() == own["close"][30 - WINDOW_BARS + 1 : 31].tolist()
    assert view.after.close.tolist() == own["close"][31 : 31 + SMALL.outcome_bars].tolist()
    assert view.outcome["r3"] == pytest.approx(own["close"][34] / own["close"][31] - 1, rel=1e-6)
    for match in view.matches:
        assert len(match.window) == WINDOW_BARS
        assert len(match.after) == SMALL.outcome_bars
        assert match.window.dates[-1] == match.end
        assert match.after.dates[-1] == match.known_on <= days[30]
        entry = SMALL.entry_lag_bars - 1
        assert match.returns["r3"] == pytest.approx(
            match.after.close[entry + 3] / match.after.close[entry] - 1, rel=1e-6
        )
    assert sum(match.share for match in view.matches) == pytest.approx(1)


def test_without_a_date_the_newest_is_taken_and_nothing_follows(home, days, weights):
    view = explain_sample(home, "S00001", None, SETTINGS, weights)
    assert view.date == days[-1]
    assert len(view.after) == 0
    assert view.outcome == {"r1": None, "r3": None, "barrier": None}
    assert "not known yet" in view.text()


def test_the_searchable_part_is_counted_as_a_loop_counts_it(home, days, weights):
    stored = home.read("patterns", ["symbol", "end", "known_on"]).to_pylist()
    own_days = days.tolist()
    for at in (WINDOW_BARS - 1, 20, 41, BARS - 1):
        eligible, own = [], 0
        for pattern in stored:
            if pattern["known_on"] > own_days[at]:
                continue
            if pattern["symbol"] == "S00001" and abs(own_days.index(pattern["end"]) - at) < WINDOW_BARS:
                own += 1
            else:
                eligible.append(pattern)
        view = explain_sample(home, "S00001", days[at], SETTINGS, weights)
        found = view.searchable
        assert (found.patterns, found.own) == (len(eligible), own)
        assert found.symbols == len({pattern["symbol"] for pattern in eligible})
        for name, best, column in (
            ("first_end", min, "end"),
            ("last_end", max, "end"),
            ("last_known_on", max, "known_on"),
        ):
            wanted = str(best(pattern[column] for pattern in eligible)) if eligible else None
            assert found.to_dict()[name] == wanted
        assert str(found) in view.text()
        assert view.to_dict()["searchable"] == found.to_dict()
        assert view.to_dict()["run"] is None
    assert found.last_known_on <= view.date


@pytest.mark.slow
def test_the_attention_map_of_a_sample(home, days, weights):
    plain, view = (explain_sample(home, "S00001", days[30], SETTINGS, weights, attention=on) for on in (False, True))
    assert plain.attention is None
    assert "attention" not in plain.to_dict()
    found = view.attention
    assert found.similarity == pytest.approx([match.similarity for match in view.matches], abs=1e-6)
    assert found.drops[1].shape == (3, WINDOW_BARS)
    _, at = found.strongest()
    assert f"rests most on candle {at + 1} of {WINDOW_BARS} ({view.window.dates[at]})" in view.text()
    assert json.loads(json.dumps(view.to_dict()))["attention"] == found.to_dict()
    none = explain_sample(home, "S00001", days[WINDOW_BARS - 1], SETTINGS, weights, attention=True)
    assert none.attention is None


@pytest.mark.slow
def test_a_price_that_stayed_is_known(tmp_path, weights):
    frame = market(1, BARS, seed=3)
    flat = frame["date"] >= frame["date"].unique()[40]
    frame.loc[flat, ["open", "high", "low", "close"]] = 10.0
    home = make_home(tmp_path / "home", frame)
    update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(weights), 1))
    view = explain_sample(home, "S00000", frame["date"].unique()[45], SETTINGS, weights)
    assert view.outcome["r1"] == view.outcome["r3"] == 0
    assert "what followed it: r1 +0.0 %, r3 +0.0 %" in view.text()


def test_text_date_is_parsed(home, days, weights):
    text = str(days[30]).replace("-", "/")
    assert explain_sample(home, "S00001", text, SETTINGS, weights).date == days[30]


def test_early_query_has_a_reason_and_no_value(home, days, weights):
    view = explain_sample(home, "S00001", days[WINDOW_BARS - 1], SETTINGS, weights)
    assert (view.factor["status"], view.factor["value"], view.matches) == ("failed", None, [])
    assert "no value: too few matches: 0 of 2" in view.text()
    assert list(view.to_frame().columns) == [
        *("rank", "symbol", "end", "known_on", "similarity", "weight", "share", "r1", "r3", "barrier")
    ]
    assert view.to_frame().empty


@pytest.mark.slow
def test_json(home, days, weights):
    for day in (days[WINDOW_BARS - 1], days[30], days[-1]):
        view = explain_sample(home, "S00001", day, SETTINGS, weights)
        back = json.loads(json.dumps(view.to_dict(), allow_nan=False))
        assert back["date"] == str(day)
        assert [bar["close"] for bar in back["window"]] == view.window.close.tolist()
        assert [match["similarity"] for match in back["matches"]] == [match.similarity for match in view.matches]


@pytest.mark.parametrize(
    ("symbol", "date", "error", "words"),
    [
        ("NOPE", None, UnknownSymbolError, "'NOPE' has no bars"),
        ("../../x", None, UnknownSymbolError, "'../../x' has no bars"),
        ("S00001", "2020-01-11", DateError, "no trading day of S00001"),
        ("S00001", "1999-01-04", DateError, "before the first bar"),
        ("S00001", "2040-01-02", DateError, "after the last bar"),
        ("S00001", "2020-02-30", DateError, "date is '2020-02-30'"),
        ("S00001", "2020-01-06", DateError, "too few bars: 1 of 5"),
        ("FEW00000", None, DateError, "has 4 bars and no window of 5"),
        ("HOLE00000", "2020-03-24", DateError, "hole of more than 20 days"),
    ],
)
def test_refusals(home, weights, symbol, date, error, words):
    with pytest.raises(error, match=re.escape(words)) as caught:
        explain_sample(home, symbol, date, SETTINGS, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_symbol_goes_by_the_name_that_the_home_knows(tmp_path, bars, weights):
    names = {"S00000": "600519.SH", "S00001": "000001.SZ", "S00002": "000001.SH"}
    part = bars[bars["symbol"].isin(names)]
    home = make_home(tmp_path / "home", part.assign(symbol=part["symbol"].map(names)))
    update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(weights), 1))
    view = explain_sample(home, "sh600519", None, SETTINGS, weights)
    assert (view.symbol, view.window.symbol, view.factor["symbol"]) == ("600519.SH", "600519.SH", "600519.SH")
    with pytest.raises(AmbiguousSymbolError, match=r"'000001' is ambiguous: 000001.SH, 000001.SZ"):
        explain_sample(home, "000001", None, SETTINGS, weights)
    with pytest.raises(UnknownSymbolError, match=r"check its name \(did you mean 600519.SH\?\)$"):
        explain_sample(home, "600518", None, SETTINGS, weights)


@pytest.mark.slow
def test_seen_date_is_refused_unless_allowed(tmp_path, bars, days):
    seen = str(write_encoder(tmp_path / "seen.safetensors", trained_through=str(days[40])))
    home = make_home(tmp_path / "home", bars)
    update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(seen), 1))
    with pytest.raises(EncoderError, match="trained through"):
        explain_sample(home, "S00001", days[40], SETTINGS, seen)
    assert explain_sample(home, "S00001", days[41], SETTINGS, seen).matches
    allowed = Settings(SMALL, FactorSettings(return_horizon=3, top_k=3, min_matches=2, allow_seen=True))
    view = explain_sample(home, "S00001", days[40], allowed, seen)
    assert view.matches
    assert f"bars after entry); encoder trained through {days[40]}\n" in view.text()
    assert "trained through" not in explain_sample(home, "S00001", days[41], allowed, seen).text()


@pytest.mark.slow
def test_stale_patterns_are_refused(tmp_path, weights):
    home = make_home(tmp_path / "home", market(1, 30))
    update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(weights), 1))
    add_bars(home, market(1, 30, prefix="T"))
    with pytest.raises(StaleError, match="kline index"):
        explain_sample(home, "S00000", None, SETTINGS, weights)


@pytest.mark.parametrize(
    ("share", "digits", "text"), [(0.05, None, "+5 %"), (-0.03, None, "−3 %"), (0.0267, 1, "+2.7 %")]
)
def test_percent(share, digits, text):
    assert percent(share, digits) == text


@pytest.mark.slow
def test_dates_of_matches_are_days(home, days, weights):
    view = explain_sample(home, "S00001", days[30], SETTINGS, weights)
    assert all(match.end.dtype == np.dtype("datetime64[D]") for match in view.matches)


@pytest.mark.slow
def test_in_an_older_state_only_what_it_knew_is_found(tmp_path, bars, days, weights):
    home = make_home(tmp_path / "home", bars[bars["date"] <= days[40]])
    update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(weights), 1))
    old = StateKey.newest(home, SETTINGS, weights)
    add_bars(home, bars[bars["date"] > days[40]])
    update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(weights), 1))
    view = explain_loaded(load_state(old), "S00001", None)
    assert view.date == days[40]
    assert len(view.after) == 0
    now = explain_sample(home, "S00001", days[40], SETTINGS, weights)
    assert view.factor["value"] == now.factor["value"]
    assert len(now.after) > 0
