"""Adjustment factors from previous closes, adjusted closes, splits and dividends: however a history is fed."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.bars.increments import HOLES, LOST_ROW, NO_JOINT, NO_OVERLAP, NO_OVERLAP_BEFORE, TORN
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.row_checks import check_rows
from kline_core.store.home import Home
from tests.support.examples import examples
from tests.support.payments import ALL, DAYS, EX_DATES, KINDS, SYMBOLS, told_by


def take_in(home, frame):
    """Ingest a frame whose columns are named by their meaning."""
    return ingest([frame], home)


def stored(home):
    rows = home.read("bars").to_pandas().sort_values(["symbol", "date"], ignore_index=True)
    return rows.drop(columns=["amount"])


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home", create=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_factor_is_the_vendors_up_to_its_rounding(home, kind):
    assert take_in(home, told_by(kind)).stored_new == len(ALL)
    expected = ALL.sort_values(["symbol", "date"])["factor"]
    assert stored(home)["adj_factor"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-6)
    changed = (np.abs(stored(home)["adj_factor"].pct_change()) > 0).sum()
    # Each symbol's three, and from one symbol to the other.
    assert changed == 2 * len(EX_DATES) + 1


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 5, 17])
def test_a_history_fed_in_parts_is_the_one_fed_at_once_bit_for_bit(home, tmp_path, kind, step):
    whole = Home(tmp_path / "whole", create=True)
    take_in(whole, told_by(kind))
    # One by one at the end alone, over the last of the ex-dates.
    starts = range(0, len(DAYS), step) if step > 1 else [0, *range(28, len(DAYS))]
    for begin, end in pairwise([*starts, len(DAYS)]):
        # What gives only changes must begin with a stored day; a previous close reaches back by itself.
        back = 1 if kind in ("adjusted close", "splits and dividends") else 0
        part = DAYS[max(begin - back, 0) : end].astype("datetime64[s]")
        take_in(home, told_by(kind, ALL[ALL["date"].isin(part)]))
    pd.testing.assert_frame_equal(stored(home), stored(whole), check_exact=True)


@pytest.mark.slow
@settings(max_examples=examples(4))
@given(
    kind=st.sampled_from(sorted(set(KINDS) - {"factor"})),
    cuts=st.lists(st.integers(1, len(DAYS) - 1), max_size=4, unique=True),
    overlap=st.integers(1, 12),
    order=st.randoms(),
)
def test_parts_that_overlap_are_the_whole(tmp_path_factory, kind, cuts, overlap, order):
    home, whole = (Home(tmp_path_factory.mktemp("home") / "x", create=True) for _ in range(2))
    take_in(whole, told_by(kind))
    for begin, end in pairwise([0, *sorted(cuts), len(DAYS)]):
        part = ALL[ALL["date"].isin(DAYS[max(begin - overlap, 0) : end].astype("datetime64[s]"))]
        rows = list(part.index)
        order.shuffle(rows)
        take_in(home, told_by(kind, part.loc[rows]))
    pd.testing.assert_frame_equal(stored(home), stored(whole), check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adjusted close", "splits and dividends"])
def test_without_a_common_day_the_change_in_between_is_not_known(home, kind):
    take_in(home, told_by(kind, ALL[ALL["date"] < "2024-03-01"]))
    with pytest.raises(NothingUsableError) as error:
        take_in(home, told_by(kind, ALL[ALL["date"] >= "2024-03-01"]))
    assert error.value.report.rejections["reason"].unique().tolist() == [NO_OVERLAP]


@pytest.mark.slow
def test_days_before_the_stored_ones_must_reach_the_first(home):
    early, late = (ALL[mask] for mask in (ALL["date"] < "2024-03-01", ALL["date"] >= "2024-03-01"))
    take_in(home, told_by("adjusted close", late))
    with pytest.raises(NothingUsableError) as error:
        take_in(home, told_by("adjusted close", early))
    assert error.value.report.rejections["reason"].unique().tolist() == [NO_OVERLAP_BEFORE]
    assert "first stored date" in NO_OVERLAP_BEFORE


@pytest.mark.slow
def test_a_previous_close_over_a_lost_day_tells_nothing_unless_it_is_the_last_one(home):
    take_in(home, told_by("previous close", ALL[ALL["date"].isin(DAYS[:10].astype("datetime64[s]"))]))
    later = ALL[ALL["date"].isin(DAYS[12:20].astype("datetime64[s]"))]
    with pytest.raises(NothingUsableError) as error:
        take_in(home, told_by("previous close", later))
    assert error.value.report.rejections["reason"].unique().tolist() == [NO_OVERLAP]
    # Nothing was traded in between.
    first = later.groupby("symbol").head(1).index
    last = ALL[ALL["date"] == DAYS[9].astype("datetime64[s]")].set_index("symbol")["close"]
    still = told_by("previous close", later.assign(prev_close=later["prev_close"].copy()))
    still.loc[first, "prev_close"] = still.loc[first, "symbol"].map(last)
    assert take_in(home, still).stored_new == len(later)


def test_two_bases_without_a_common_day_are_refused(home):
    early, late = (
        told_by("adjusted close", ALL[mask]) for mask in (ALL["date"] < "2024-03-01", ALL["date"] >= "2024-03-01")
    )
    with pytest.raises(NothingUsableError) as error:
        ingest([early, late], home)
    assert error.value.report.rejections["reason"].unique().tolist() == [NO_JOINT]


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"factor"}))
def test_what_is_adjusted_anew_changes_no_stored_bar(home, kind):
    """The vendor's whole history after another dividend: all adjusted closes are smaller by one constant."""
    part = ALL[ALL["date"].isin(DAYS[:25].astype("datetime64[s]"))]
    scale = {symbol: rows["adj_close"].iloc[-1] / rows["close"].iloc[-1] for symbol, rows in part.groupby("symbol")}
    take_in(home, told_by(kind, part.assign(adj_close=(part["adj_close"] / part["symbol"].map(scale)).round(6))))
    before = stored(home)
    report = take_in(home, told_by(kind, ALL.assign(adj_close=ALL["adj_close"].round(6))))
    assert (report.updated, report.unchanged, report.restated) == (0, len(part), [])
    kept = stored(home)
    pd.testing.assert_frame_equal(
        kept[kept["date"].isin(before["date"])].reset_index(drop=True), before, check_exact=True
    )


@pytest.mark.slow
def test_a_rejected_row_passes_its_change_on(home):
    frame = told_by("previous close")
    lost = frame.index[(frame["symbol"] == SYMBOLS[0]) & (frame["date"] == DAYS[7].astype("datetime64[s]"))]
    frame.loc[lost, "open"] = -1.0
    assert take_in(home, frame).rejected == 1
    expected = ALL.drop(index=lost).sort_values(["symbol", "date"])["factor"]
    assert stored(home)["adj_factor"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)


def test_a_previous_close_that_is_none_is_not_used_and_said_so():
    """Some files repeat the day's own close under that name."""
    frame = told_by("previous close").assign(prev_close=ALL["close"])
    checked = check_rows(frame, "x")
    assert not checked.bars["incremental"].any()
    assert "too many to be ex-dates" in checked.notes[0]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("adj_close", 0.0, "adj_close is missing or not above 0"),
        ("adj_close", np.nan, "adj_close is missing or not above 0"),
        ("split", -2.0, "split is negative or not finite"),
        ("dividend", -0.1, "dividend is negative or not finite"),
        ("dividend", 1e6, "dividend is not less than the close before"),
    ],
)
def test_a_cell_that_tells_no_change_is_rejected(column, value, reason):
    kind = next(kind for kind, columns in KINDS.items() if column in columns)
    frame = told_by(kind)
    frame.loc[12, column] = value
    rejected = check_rows(frame, "x").rejected
    assert rejected[["row", "reason"]].to_numpy().tolist() == [[12, reason]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["previous close", "adjusted close"])
def test_a_change_that_stored_bars_after_the_delivery_would_not_have_is_refused(home, kind):
    take_in(home, told_by(kind))
    before = stored(home)
    late = told_by(kind)
    here = late["date"].isin(DAYS[10:15].astype("datetime64[s]"))
    column = KINDS[kind][next(iter(KINDS[kind]))]
    # A payment on the 13th day that nobody had heard of.
    told = late["date"] == DAYS[12].astype("datetime64[s]")
    late.loc[told if column == "prev_close" else late["date"] < DAYS[12].astype("datetime64[s]"), column] *= 0.9
    with pytest.raises(NothingUsableError) as error:
        take_in(home, late[here])
    assert error.value.report.rejections["reason"].unique().tolist() == [TORN]
    pd.testing.assert_frame_equal(stored(home), before, check_exact=True)


def without(frame, *positions):
    """The rows of the first symbol, some days of it lost."""
    lost = DAYS[list(positions)].astype("datetime64[s]")
    return frame[(frame["symbol"] == SYMBOLS[0]) & ~frame["date"].isin(lost)]


def rise(at):
    """Whether the first symbol's close is above the close before, so that a lost row there shows as no payment."""
    close = ALL.loc[ALL["symbol"] == SYMBOLS[0], "close"].to_numpy()
    return close[at] > close[at - 1]


RISES = [at for at in range(1, 38) if rise(at) and not {at, at + 1} & EX_DATES.keys()]
FALLS = [at for at in range(1, 38) if not rise(at) and not {at, at + 1} & EX_DATES.keys()]


@pytest.mark.slow
@pytest.mark.parametrize("at", RISES[:3] + FALLS[:3])
@pytest.mark.parametrize("how", ["trading", "suspended"])
def test_where_suspended_days_have_rows_a_lost_row_hides_the_change(home, at, how):
    frame = told_by("previous close")
    if how == "trading":
        frame = frame.assign(trading=1)
    else:
        # A suspended day of the other symbol shows that this vendor writes them.
        flat = frame.index[frame["symbol"] == SYMBOLS[1]][3]
        frame.loc[flat, ["open", "high", "low", "close"]] = frame.loc[flat, "prev_close"]
        frame.loc[flat, "volume"] = 0
        frame.loc[flat + 1, "prev_close"] = frame.loc[flat, "close"]
    other = frame[frame["symbol"] == SYMBOLS[1]]
    report = take_in(home, pd.concat([without(frame, at), other]))
    assert report.stored_new == len(DAYS)
    assert report.rejections["reason"].unique().tolist() == [LOST_ROW]
    assert report.rejections["value"].unique().tolist() == [f"{DAYS[at - 1]} to {DAYS[at + 1]}"]


@pytest.mark.parametrize("at", RISES[:4])
def test_a_lost_row_that_rose_is_no_payment(home, at):
    with pytest.raises(NothingUsableError) as error:
        take_in(home, without(told_by("previous close"), at))
    assert error.value.report.rejections["reason"].unique().tolist() == [LOST_ROW]


@pytest.mark.slow
@pytest.mark.parametrize("at", FALLS[:4])
def test_a_lost_row_that_fell_may_be_a_payment_and_is_counted(home, at):
    report = take_in(home, without(told_by("previous close"), at))
    assert (report.rejected, report.notes) == (0, {HOLES.format(1): ["frame 1"]})


def test_more_holes_that_change_than_suspensions_have_are_lost_rows(home):
    apart = [at for at in FALLS if at - 1 not in FALLS][:2]
    with pytest.raises(NothingUsableError) as error:
        take_in(home, without(told_by("previous close"), *apart))
    assert error.value.report.rejections["reason"].unique().tolist() == [LOST_ROW]


@pytest.mark.slow
def test_a_payment_during_a_suspension_is_one(home):
    """The vendor has no rows of suspended days: the previous close behind them is the one before, less the payment."""
    frame = ALL.copy()
    mine = frame["symbol"] == SYMBOLS[0]
    behind = mine & (frame["date"] == DAYS[10].astype("datetime64[s]"))
    last = frame.loc[mine & (frame["date"] == DAYS[6].astype("datetime64[s]")), "close"].item()
    frame.loc[behind, "prev_close"] = last - 0.5
    report = take_in(home, without(told_by("previous close", frame), 7, 8, 9))
    assert (report.rejected, report.notes) == (0, {HOLES.format(1): ["frame 1"]})
    change = stored(home)["adj_factor"].to_numpy()[[6, 7]]
    assert change[1] / change[0] == pytest.approx(last / (last - 0.5), rel=1e-12)
    # And without a payment the factor stays, and there is nothing to say.
    frame.loc[behind, "prev_close"] = last
    report = take_in(Home(home.uri + "2", create=True), without(told_by("previous close", frame), 7, 8, 9))
    assert (report.rejected, report.notes) == (0, {})


@pytest.mark.slow
@pytest.mark.parametrize("at", [*RISES[:2], *FALLS[:2], 7])
@pytest.mark.parametrize("beside", ["file", "stored"])
def test_a_row_that_one_file_lacks_and_another_has_is_not_lost(home, tmp_path, at, beside):
    frame = told_by("previous close")
    whole = Home(tmp_path / "whole", create=True)
    take_in(whole, frame[frame["symbol"] == SYMBOLS[0]])
    only = frame[(frame["symbol"] == SYMBOLS[0]) & (frame["date"] == DAYS[at].astype("datetime64[s]"))]
    if beside == "file":
        ingest([without(frame, at), only], home)
    else:
        take_in(home, without(frame, *range(at + 1, len(DAYS))))
        take_in(home, without(frame, at))
    pd.testing.assert_frame_equal(stored(home), stored(whole), check_exact=True)


@pytest.mark.slow
def test_a_payment_on_a_row_without_a_price_is_not_forgotten(home):
    frame = told_by("splits and dividends")
    lost = (frame["symbol"] == SYMBOLS[0]) & (frame["date"] == DAYS[19].astype("datetime64[s]"))
    frame.loc[lost, ["open", "high", "low", "close"]] = np.nan
    report = take_in(home, frame)
    assert report.rejected == len(DAYS)
    assert NO_JOINT in set(report.rejections["reason"])


@pytest.mark.slow
def test_a_file_that_is_there_twice_over_has_the_payments_of_one(home):
    frame = told_by("previous close")
    report = take_in(home, pd.concat([frame, frame], ignore_index=True))
    assert (report.stored_new, report.rejected) == (len(frame), len(frame))
    assert stored(home)["adj_factor"].nunique() == 2 * len(EX_DATES) + 1


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, -1])
def test_of_equal_rows_the_one_that_knows_its_change_is_taken(home, order):
    frame = told_by("adjusted close")
    parts = [
        frame[frame["date"] < DAYS[20].astype("datetime64[s]")],
        frame[frame["date"] >= DAYS[15].astype("datetime64[s]")],
    ]
    assert ingest(parts[::order], home).stored_new == len(frame)


def previous_closes(close: list[float]) -> pd.DataFrame:
    """A file with previous closes and no payment."""
    days = pd.to_datetime([f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11)])
    prices = pd.DataFrame({"close": close})
    rest = {"open": close, "high": prices["close"] + 0.1, "low": prices["close"] - 0.1, "volume": 1e6, "amount": 1e7}
    told = {"adjustflag": 3, "turn": 1.0, "tradestatus": 1, "pctChg": 0.0, "isST": 0}
    previous = [close[0], *close[:-1]]
    return pd.DataFrame({"date": days, "code": "sh.600000", "preclose": previous, "close": close, **rest, **told})


CLOSES = [10.0, 10.1, 10.2, 10.1, 10.0, 9.9, 10.0, 10.1]


@pytest.mark.slow
@pytest.mark.parametrize(("column", "value"), [("high", 9.0), ("volume", -1.0), ("close", 11.0), ("close", np.nan)])
def test_the_close_of_a_rejected_row_is_no_payment(tmp_path, column, value):
    """The next row says whether it was right; where it was not, nothing tells a payment from the mistake."""
    frame = previous_closes(CLOSES)
    frame.loc[4, column] = value
    home = Home(tmp_path / "home", create=True)
    if column == "close":
        with pytest.raises(NothingUsableError) as error:
            ingest([frame], home)
        assert error.value.report.rejections["reason"].isin((NO_JOINT, LOST_ROW)).sum() == 7
        return
    assert ingest([frame], home).rejected == 1
    assert home.read("bars")["adj_factor"].to_pylist() == [1.0] * 7


def test_of_two_closes_of_one_day_neither_is_a_payment(tmp_path):
    frame = previous_closes(CLOSES)
    twice = pd.concat([frame.iloc[[4]].assign(close=10.05), frame])
    with pytest.raises(NothingUsableError) as error:
        ingest([twice], Home(tmp_path / "home", create=True))
    assert error.value.report.rejections["reason"].isin((NO_JOINT, LOST_ROW)).sum() == 7
