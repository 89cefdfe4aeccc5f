"""An evaluation equals a plain loop, finds what was planted, and does not sell noise."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kline_core.bars.members import keep_members
from kline_core.encoder.synthetic import random_walk
from kline_core.errors import DateError, FingerprintError, HomeError, SettingError, UnknownSymbolError
from kline_core.evaluation.estimate import MIN_SESSIONS, MIN_SYMBOLS, Estimate
from kline_core.evaluation.evaluate import evaluate_frame, evaluate_values
from kline_core.evaluation.panel import by_symbol
from kline_core.evaluation.report import HorizonIC
from kline_core.settings import PatternSettings, Settings
from kline_core.store.home import Home
from tests import naive
from tests.support.frames import plain, walks_together
from tests.support.homes import make_home
from tests.support.made_markets import MadeMarket
from tests.support.values import FINGERPRINT, store, value_rows

LAG, HORIZON = 1, 5
APART = LAG + HORIZON


def future(frame, symbol, horizon=HORIZON):
    """Dates and the return that follows each, NaN where it is not known."""
    bars = frame[frame["symbol"] == symbol]
    close = bars["close"].to_numpy()
    returns = np.full(len(close), np.nan)
    returns[: -LAG - horizon] = close[LAG + horizon :] / close[LAG:-horizon] - 1
    return bars["date"].to_numpy().astype("datetime64[D]"), returns


def fill(home, frame, make, fingerprint=FINGERPRINT, every=1):
    """Store `make(returns)` for every nth date of each symbol."""
    rows = []
    for symbol in frame["symbol"].unique():
        dates, returns = future(frame, symbol)
        rows.append(value_rows(symbol, dates[::every], make(returns)[::every]))
    store(home, pd.concat(rows), fingerprint)


@pytest.fixture(scope="module")
def walks():
    return plain(random_walk(8, 400, seed=3))


@pytest.fixture
def home(walks, tmp_path):
    return make_home(tmp_path / "home", walks)


def judge(home, fingerprint=FINGERPRINT, **options):
    return evaluate_values(home, fingerprint=fingerprint, **{"details": False} | options)


def kept(days):
    """Days, as ordinals, that lie `APART` from the last one kept."""
    found = []
    for day in days:
        if not found or day - found[-1] >= APART:
            found.append(day)
    return found


@pytest.mark.slow
@given(st.lists(st.sampled_from(["A", "B", "AA", "Z", "600519.SH", "000001.SZ", "BRK.B"]), max_size=60))
def test_each_symbol_comes_with_its_own_rows_and_all_of_them(symbols):
    rows = pa.table({"symbol": pa.array(symbols, pa.string()), "row": pa.array(range(len(symbols)), pa.int64())})
    found = {symbol: mine["row"].to_pylist() for symbol, mine in by_symbol(rows)}
    assert list(found) == sorted(set(symbols))
    assert found == {name: [row for row, other in enumerate(symbols) if other == name] for name in found}


@pytest.mark.slow
@pytest.mark.long
def test_no_value_is_left_out_whatever_the_number_of_symbols(tmp_path):
    # Enough rows for Arrow to group them in another order than that in which they stand.
    frame = plain(random_walk(1200, 24, seed=1))
    home = make_home(tmp_path / "home", frame)
    store(home, value_rows(frame["symbol"], frame["date"].to_numpy(), np.full(len(frame), 0.5)))
    holiday = frame["date"].max() + pd.Timedelta(days=100)
    store(home, value_rows("SYN00007", [holiday], [0.5]))
    report = judge(home)
    assert report.values == 1200 * 24 + 1
    assert report.without_bar == 1
    assert report.horizons[1].pairs == 1200 * (24 - LAG - HORIZON)


def mean_and_error(by_day):
    independent = [by_day[day] for day in kept(sorted(by_day))]
    middle = sum(independent) / len(independent)
    variance = sum((x - middle) ** 2 for x in independent) / (len(independent) - 1)
    return sum(by_day.values()) / len(by_day), math.sqrt(variance / len(independent)), len(independent)


def samples_by_day(frame, rows):
    """Pairs of value and return of each session, by its ordinal, where both are known."""
    days = sorted(frame["date"].unique())
    known = {
        (symbol, date): value
        for symbol in frame["symbol"].unique()
        for date, value in zip(*future(frame, symbol), strict=True)
    }
    found = {}
    for row in rows.itertuples():
        pair = row.value, known[row.symbol, np.datetime64(row.date, "D")]
        if not any(map(math.isnan, pair)):
            found.setdefault(days.index(row.date), []).append(pair)
    return found


@pytest.mark.slow
def test_equal_to_a_plain_loop(home, walks):
    rng = np.random.default_rng(0)
    rows = []
    for symbol in walks["symbol"].unique():
        dates, _ = future(walks, symbol)
        at = np.sort(rng.choice(len(dates), 330, replace=False))
        values = rng.integers(0, 12, len(at)) / 11
        values[rng.random(len(at)) < 0.05] = np.nan
        rows.append(value_rows(symbol, dates[at], values))
    rows = pd.concat(rows)
    store(home, rows)
    found = judge(home)

    ranked, linear, fifths = {}, {}, [{} for _ in range(5)]
    counts, spreads = [0] * 5, {}
    for day, pairs in samples_by_day(walks, rows).items():
        values, returns = zip(*pairs, strict=True)
        if len(pairs) < MIN_SYMBOLS:
            continue
        if (coefficient := naive.spearman(values, returns)) is not None:
            ranked[day] = coefficient
            linear[day] = np.corrcoef(values, returns)[0, 1]
        groups = [[] for _ in range(5)]
        for value, result in pairs:
            below, same = sum(v < value for v in values), sum(v == value for v in values)
            # The average rank is below + (same + 1) / 2; half a rank less than that, as a share.
            groups[math.floor(5 * (below + same / 2) / len(pairs))].append(result - sum(returns) / len(pairs))
        for at, group in enumerate(groups):
            counts[at] += len(group)
            if group:
                fifths[at][day] = sum(group) / len(group)
        if groups[0] and groups[4]:
            spreads[day] = fifths[4][day] - fifths[0][day]

    main = next(each for each in found.horizons if each.horizon == HORIZON)
    for got, by_day in ((main.rank_ic, ranked), (main.ic, linear)):
        value, se, n = mean_and_error(by_day)
        assert (got.value, got.se) == pytest.approx((value, se), rel=1e-5)
        assert got.n == n >= MIN_SESSIONS
        assert got.reason is None
    assert found.quantiles.across
    for group, by_day, count in zip(found.quantiles.groups, fifths, counts, strict=True):
        value, se, n = mean_and_error(by_day)
        assert (group.mean, group.se) == pytest.approx((value, se), rel=1e-4, abs=1e-9)
        assert (group.n_independent, group.samples) == (n, count)
    assert (found.quantiles.spread, found.quantiles.spread_se) == pytest.approx(mean_and_error(spreads)[:2], rel=1e-4)

    alone, errors = [], []
    for symbol in walks["symbol"].unique():
        dates, returns = future(walks, symbol)
        mine = rows[rows["symbol"] == symbol]
        bars = np.searchsorted(dates, mine["date"].to_numpy())
        pairs = [
            (bar, value, returns[bar])
            for bar, value in zip(bars, mine["value"], strict=True)
            if not math.isnan(value + returns[bar])
        ]
        alone.append(naive.spearman([p[1] for p in pairs], [p[2] for p in pairs]))
        errors.append((len(kept([p[0] for p in pairs])) - 1) ** -0.5)
    assert main.over_time.value == pytest.approx(np.mean(alone))
    assert main.over_time.se == pytest.approx(np.mean(errors))

    known = rows[~rows["failed"]]
    assert (found.samples, found.values, found.symbols) == (len(rows), len(known), 8)
    assert found.failed == {"too few matches: 0 of 5": int(rows["failed"].sum())}
    assert (found.first, found.last) == (rows["date"].min(), rows["date"].max())
    assert [each.pairs for each in found.horizons] == sorted((each.pairs for each in found.horizons), reverse=True)
    assert main.pairs == sum(map(len, samples_by_day(walks, rows).values()))
    years = known["date"].dt.year
    assert [year.year for year in found.coverage] == sorted(rows["date"].dt.year.unique())
    for year in found.coverage:
        part = known[years == year.year]
        assert year.samples == (rows["date"].dt.year == year.year).sum()
        assert (year.values, year.symbols, year.dates) == (len(part), part["symbol"].nunique(), part["date"].nunique())


@pytest.mark.slow
def test_decay_is_measured_at_every_horizon(tmp_path):
    frame = plain(random_walk(20, 600, seed=5))
    home = make_home(tmp_path / "home", frame)
    fill(home, frame, lambda returns: returns)
    found = judge(home)
    assert [each.horizon for each in found.horizons] == [1, 5, 10, 20]
    by_horizon = {each.horizon: each.rank_ic.value for each in found.horizons}
    assert by_horizon[5] == pytest.approx(1.0)
    # One step of five, five of ten, five of twenty: Spearman's is a little less than the roots of these shares.
    assert by_horizon[1] == pytest.approx(0.43, abs=0.06)
    assert by_horizon[10] == pytest.approx(0.69, abs=0.06)
    assert by_horizon[20] == pytest.approx(0.48, abs=0.06)


@pytest.mark.slow
def test_a_planted_signal_is_found_with_its_sign(tmp_path):
    frame = plain(random_walk(40, 500, seed=4))
    home = make_home(tmp_path / "home", frame)
    for sign, fingerprint in ((1, "up"), (-1, "down")):
        rng = np.random.default_rng(1)
        fill(home, frame, lambda r, s=sign, g=rng: s * r / np.nanstd(r) + 12 * g.normal(size=len(r)), fingerprint)
        found = judge(home, fingerprint, details=True)
        assert found.judged.value == pytest.approx(sign / 12, abs=0.03)
        assert not next(each for each in found.horizons if each.horizon == HORIZON).is_noise
        # One p for the verdict and for the warning beside it: Student's t.
        judged = found.judged
        p = 2 * stats.t.sf(abs(judged.value) / judged.se, judged.n - 1)
        assert f"get so far in {100 * p:.2g} % of all cases" in found.verdict
        assert found.details.tries.p == pytest.approx(p)
        assert "standard errors from zero" in found.verdict
        assert "costs are not deducted" in found.verdict
        assert np.sign(found.quantiles.spread) == sign
        assert abs(found.quantiles.spread) > 2 * found.quantiles.spread_se


@pytest.mark.parametrize(("sessions", "noise"), [(20, True), (200, False)])
def test_what_is_distinguishable_is_told_by_one_p(sessions, noise):
    """2.05 errors are 5.4 % of 20 sessions, and 4.2 % of 200."""
    main = HorizonIC(HORIZON, 9, Estimate(0.041, 0.02, sessions, None), *2 * [Estimate(math.nan, math.nan, 0, "none")])
    assert main.p == pytest.approx(2 * stats.t.sf(2.05, sessions - 1))
    assert main.is_noise is noise


@pytest.mark.slow
def test_the_same_order_on_every_session_has_no_error():
    """Six symbols that always move alike, and values that are always the same."""
    drift = np.array([1, 2, 3, 4, 5, 6]) * 1e-3
    made = MadeMarket(np.tile(drift, (300, 1)))
    for order, said in (([3, 2, 5, 1, 4, 6], "+0.486"), ([5, 1, 3, 4, 6, 2], "+0.029")):
        found = evaluate_frame(made.rows(np.tile(np.array(order) / 10, (300, 1))), made.frames)
        assert f"is {said} ± 0.000" in found.verdict
        assert "standard errors from zero" not in found.verdict
        assert found.details.tries.p < 1e-9
    assert "get so far in 0 % of all cases" in found.verdict


@pytest.mark.slow
def test_a_leak_is_called_one(home, walks):
    rng = np.random.default_rng(2)
    fill(home, walks, lambda returns: returns + rng.normal(0, 0.02, len(returns)))
    found = judge(home)
    assert found.judged.value > 0.5
    assert "a leak is likelier than a signal" in found.verdict


@pytest.mark.long
@pytest.mark.parametrize("few", [False, True])
def test_noise_is_not_sold(tmp_path, few):
    """Values that move slowly and together say nothing of walks that move together; few verdicts may claim they do."""
    frame = walks_together(1, 4 if few else 20, 400, seed=6)
    home = make_home(tmp_path / "home", frame)
    rng = np.random.default_rng(8)
    tries, claims = 20, 0
    for number in range(tries):
        common = np.convolve(rng.normal(size=419), np.ones(20), "valid")

        def slow(returns, common=common):
            return common + np.convolve(rng.normal(size=len(returns) + 19), np.ones(20), "valid")

        fill(home, frame, slow, f"noise {number}")
        found = judge(home, f"noise {number}")
        assert found.horizons[1].rank_ic.known is not few
        claims += "not distinguishable from zero" not in found.verdict
    # One in 22 is what two standard errors allow: 0.9 of 20. More than 4 happen by chance in 1 of 590 cases.
    assert claims <= 4


@pytest.mark.slow
def test_few_sessions_are_no_cross_section(home, walks):
    days = np.sort(walks["date"].unique())
    rows = [
        value_rows(symbol, days[:: APART * 3][: MIN_SESSIONS - 1], np.linspace(0, 1, MIN_SESSIONS - 1) + at)
        for at, symbol in enumerate(walks["symbol"].unique())
    ]
    store(home, pd.concat(rows))
    found = judge(home)
    main = found.horizons[1]
    assert math.isnan(main.rank_ic.value)
    assert "19 sessions with returns that do not overlap have 5 or more symbols" in main.rank_ic.reason
    assert not found.quantiles.across
    assert found.judged is main.over_time
    assert "rank IC over time" in found.verdict
    assert main.rank_ic.reason in found.text()


def test_values_without_a_known_return_say_nothing(home, walks):
    days = np.sort(walks["date"].unique())
    store(home, value_rows("SYN00000", days[-3:], [0.1, 0.5, 0.9]))
    found = judge(home)
    assert found.verdict == "Nothing can be said of these values yet: no value has a known return yet."
    assert [each.pairs for each in found.horizons] == [1, 0, 0, 0]
    json.dumps(found.to_dict(), allow_nan=False)


def test_only_failures(home, walks):
    days = np.sort(walks["date"].unique())
    store(home, value_rows("SYN00000", days[:3], [np.nan] * 3))
    found = judge(home)
    assert (found.samples, found.values) == (3, 0)
    assert "there is no value" in found.verdict


@pytest.mark.slow
def test_values_of_days_without_a_bar_are_counted_and_left_out(home, walks):
    fill(home, walks, lambda returns: np.arange(len(returns)) * 1.0)
    before = judge(home)
    assert before.without_bar == 0
    # A Saturday, and a symbol of which the home holds nothing.
    stray = [value_rows("SYN00000", ["2010-01-09"], [0.5]), value_rows("GONE", ["2010-01-08"], [0.5])]
    store(home, pd.concat(stray))
    after = judge(home)
    assert (after.without_bar, after.values) == (2, before.values + 2)
    # Written out, since a NaN is not equal to itself.
    assert repr(after.horizons) == repr(before.horizons)
    assert "2 values are of days without a traded bar" in after.text()


def test_values_that_the_encoder_could_know_are_named(home, walks):
    days = np.sort(walks["date"].unique())
    marked = value_rows("SYN00000", days[:300], np.arange(300) / 300, reasons="encoder trained through 2031-01-06")
    store(home, marked)
    found = judge(home)
    assert (found.values, found.seen) == (300, 300)
    assert "300 values are of dates that the encoder was trained on" in found.verdict


@pytest.mark.slow
def test_symbols_and_dates_can_be_chosen(home, walks):
    fill(home, walks, lambda returns: np.arange(len(returns)) * 1.0)
    days = np.sort(walks["date"].unique()).astype("datetime64[D]")
    found = judge(home, symbols=["SYN00001", "SYN00004"], first=days[10], last=days[49])
    assert (found.symbols, found.samples) == (2, 80)
    assert (found.first, found.last) == (days[10], days[49])
    # What followed is read beyond the last date: the bars are known.
    assert [each.pairs for each in found.horizons] == [80] * 4


@pytest.mark.slow
def test_settings_name_values_and_horizons(home, walks):
    settings = Settings(PatternSettings(horizons=(2, 5), entry_lag_bars=3))
    fill(home, walks, lambda returns: np.arange(len(returns)) * 1.0, "elsewhere")
    fingerprint = "as settings say"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "fingerprint", lambda *_: fingerprint)
        with pytest.raises(FingerprintError, match="elsewhere"):
            evaluate_values(home, settings, details=False)
        fill(home, walks, lambda returns: np.arange(len(returns)) * 1.0, fingerprint)
        found = evaluate_values(home, settings, details=False)
    assert found.fingerprint == fingerprint
    assert [each.horizon for each in found.horizons] == [2, 5]
    assert [each.pairs for each in found.horizons] == [8 * (400 - 5), 8 * (400 - 8)]


def test_nothing_to_evaluate(home, walks, tmp_path):
    with pytest.raises(HomeError, match="holds no values yet"):
        judge(home)
    fill(home, walks, lambda returns: np.arange(len(returns)) * 1.0)
    with pytest.raises(FingerprintError, match=rf"'other'; there are {FINGERPRINT}"):
        judge(home, "other")
    with pytest.raises(FingerprintError, match="'other'"):
        judge(home, "other", symbols=["SYN00001"])
    with pytest.raises(UnknownSymbolError, match="'NOPE'"):
        judge(home, symbols=["SYN00001", "NOPE"])
    with pytest.raises(UnknownSymbolError, match="'NOPE'"):
        judge(home, symbols=["NOPE"])
    with pytest.raises(SettingError, match="symbols is empty"):
        judge(home, symbols=[])
    with pytest.raises(DateError, match="from 2031-01-01 to the last"):
        judge(home, first=np.datetime64("2031-01-01"))
    with pytest.raises(HomeError, match="holds no values yet"):
        judge(Home(tmp_path / "empty", create=True))


@pytest.mark.slow
def test_text_page_and_json_agree(home, walks):
    rng = np.random.default_rng(9)
    fill(home, walks, lambda returns: rng.random(len(returns)))
    found = judge(home)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["verdict"] == found.verdict
    assert document["horizons"][1]["rank_ic"]["value"] == found.horizons[1].rank_ic.value
    assert document["first"] == str(found.first)
    assert len(document["quantiles"]["groups"]) == 5
    for shown in (found.text(), found.markdown()):
        assert found.verdict in shown
        assert str(found.horizons[3].ic) in shown
        assert f"{100 * found.quantiles.groups[2].mean:+.2f} %" in shown
    assert found.markdown().count("\n|---:|") == 3


@pytest.mark.slow
def test_the_order_of_rows_says_nothing(home, walks, tmp_path):
    rng = np.random.default_rng(10)
    rows = [value_rows(s, future(walks, s)[0], rng.random(400)) for s in walks["symbol"].unique()]
    store(home, pd.concat(rows))
    other = make_home(tmp_path / "other", walks)
    store(other, pd.concat(rows[::-1]).sample(frac=1, random_state=0))
    one, two = judge(home).to_dict(), judge(other).to_dict()
    for name in ("failed", "horizons", "coverage", "verdict"):
        assert one[name] == two[name]


@pytest.mark.slow
def test_of_a_universe_only_members_of_their_day_count(home, walks):
    fill(home, walks, lambda returns: returns)
    symbols, days = sorted(walks["symbol"].unique()), np.unique(walks["date"].to_numpy().astype("datetime64[D]"))
    keep_members(home, "some", "here", {days[100]: symbols[:6], days[200]: symbols[2:]})
    whole, part = judge(home), judge(home, universe="some")
    # A symbol's values in the time of its membership, and no others.
    told = home.read("factors", ["symbol", "date", "value"]).to_pandas()
    at = np.searchsorted(days, told["date"].to_numpy().astype("datetime64[D]"))
    early = (at >= 100) & (at < 200) & told["symbol"].isin(symbols[:6])
    late = (at >= 200) & told["symbol"].isin(symbols[2:])
    inside = int((early | late).sum())
    assert (part.samples, part.outside, part.universe) == (inside, whole.samples - inside, "some")
    assert (part.first, part.symbols) == (days[100], 8)
    assert (whole.outside, whole.universe) == (0, None)
    assert f"members of some alone, by the newest list not after each sample; {part.outside} samples" in part.text()
    assert json.loads(json.dumps(part.to_dict()))["outside"] == part.outside
    # As if those values alone were stored.
    for each, alone in zip(part.horizons, judge(home, symbols=symbols[2:6], first=days[100]).horizons, strict=True):
        assert each.pairs > alone.pairs


@pytest.mark.slow
def test_a_universe_without_values_or_members_is_refused(home, walks):
    fill(home, walks, lambda returns: returns)
    with pytest.raises(SettingError, match="keeps no members"):
        judge(home, universe="csi300")
    keep_members(home, "csi300", "here", {np.datetime64("2099-01-01", "D"): ["A"]})
    with pytest.raises(DateError, match="members are known from 2099-01-01 on, and values are stored of"):
        judge(home, universe="csi300")
