"""The slow, obvious oracle: plain loops that say what the fast paths must equal."""

import datetime
import hashlib
import itertools
import math
from fractions import Fraction

import numpy as np
import scipy.stats

from kline_core.bars.sessions import sessions_between

# --- windows, outcomes, samples, rank IC ----------------------------------------------------------------------------


def usable_window(dates, end, window_bars, max_gap_days, jumps=()):
    """Code of `windows.usable_windows` for one bar; `jumps` are the bars that are unexplained jumps."""
    if end + 1 < window_bars:
        return 1
    inside = range(end - window_bars + 2, end + 1)
    for bar in inside:
        if (dates[bar].item() - dates[bar - 1].item()).days > max_gap_days:
            return 2
    return 3 if any(bar in jumps for bar in inside) else 0


def jumps(symbol, dates, close, factor=None):
    """Days of the unexplained jumps of one symbol with a canonical name, from its traded bars in order."""
    found = []
    for bar in range(5, len(close)):
        before, now = (close[at] * (1.0 if factor is None else factor[at]) for at in (bar - 1, bar))
        code, _, exchange = symbol.partition(".")
        day = dates[bar]
        if exchange == "BJ":
            limit = 0.3
        elif exchange == "SH" and code[:3] in ("688", "689"):
            limit = 0.2
        elif exchange == "SZ" and code[:2] == "30":
            limit = 0.1 if day < datetime.date(2020, 8, 24) else 0.2
        elif exchange in ("SH", "SZ") and day >= datetime.date(1996, 12, 16):
            limit = 0.1
        else:
            continue
        # The calendar is taken as it is.
        days = 1 + sessions_between(np.datetime64(dates[bar - 1]), np.datetime64(day), "XSHG")
        bounds = [((1 - limit) ** many - 0.02, (1 + limit) ** many + 0.02) for many in (1, days)]
        if not any(low <= now / before <= high for low, high in bounds):
            found.append(day)
    return found


def candles(bars, end, window_bars, scale):
    """`prices.window_prices` for one window: (open, high, low, close) of each candle, oldest first."""
    found = []
    for candle in range(window_bars):
        last = end - scale * (window_bars - 1 - candle)
        inside = range(last - scale + 1, last + 1)
        assert inside[0] >= 0
        high = max(float(bars.high[bar]) for bar in inside)
        low = min(float(bars.low[bar]) for bar in inside)
        found.append((float(bars.open[inside[0]]), high, low, float(bars.close[last])))
    return found


def vector(encoder, bars, end, window_bars, scales, weights):
    """A window's vector: those of its charts, each times the root of its scale's weight, one after the other."""
    numbers = []
    for scale, weight in zip(scales, weights, strict=True):
        columns = np.array([chart(candles(bars, end, window_bars, scale))], dtype=np.uint8)
        numbers += [np.float32(math.sqrt(weight)) * number for number in encoder.encode(columns)[0]]
    return np.array(numbers, dtype=np.float32)


def window_content(content, end, first_offset, last_offset):
    """`windows.window_content` for one window, in Python integers."""
    total = 0
    for bar in range(end + first_offset, end + last_offset + 1):
        total += int(content[bar]) * 6364136223846793005 ** (end + last_offset - bar)
    return total % 2**64


def outcome(dates, open_, high, low, close, end, settings):
    """Returns per horizon, barrier label and `known_on` of one window."""
    bars = len(close)
    entry = end + settings.entry_lag_bars
    returns = []
    for horizon in settings.horizons:
        exit_ = entry + horizon
        forward = float(close[exit_]) / float(close[entry]) - 1.0 if exit_ < bars else float("nan")
        returns.append(round(forward * 2**26) / 2**26 if forward == forward else forward)
    known = end + settings.entry_lag_bars + max([*settings.horizons, settings.barrier_bars])
    known_on = dates[known] if known < bars else np.datetime64("NaT", "D")
    return returns, _barrier(open_, high, low, close, entry, settings), known_on


def _barrier(open_, high, low, close, entry, settings):
    if entry >= len(close):
        return -128
    up = float(close[entry]) * (1.0 + settings.barrier_up) * (1.0 - 1e-9)
    down = float(close[entry]) * (1.0 - settings.barrier_down) * (1.0 + 1e-9)
    for bar in range(entry + 1, entry + settings.barrier_bars + 1):
        if bar >= len(close):
            return -128
        if open_[bar] >= up:
            return 1
        if open_[bar] <= down:
            return -1
        if low[bar] <= down:
            return -1
        if high[bar] >= up:
            return 1
    return 0


def sample_priority(symbol, date):
    """Priority of one date in `samples.choose_dates`, in Python integers."""
    mask = 2**64 - 1
    x = int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "little")
    x = (x + 0x9E3779B97F4A7C15 * (date.item() - datetime.date(1970, 1, 1)).days) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def choose_dates(symbol, dates, samples):
    """`samples.choose_dates`, seat by seat: the next one goes to the year with the highest c / (2 * seats + 1)."""
    if samples >= len(dates):
        return list(dates)
    years = {}
    for date in dates[:-1]:
        years.setdefault(date.item().year, []).append((sample_priority(symbol, date), date))
    for members in years.values():
        members.sort()
    seats = dict.fromkeys(years, 0)
    for _ in range(samples - 1):
        claims = [
            (Fraction(2 * seats[year] + 1, len(members)), members[seats[year]], year)
            for year, members in years.items()
            if seats[year] < len(members)
        ]
        seats[min(claims)[2]] += 1
    chosen = [date for year, members in years.items() for _, date in members[: seats[year]]]
    return [*sorted(chosen), dates[-1]]


def spearman(values, returns):
    """Spearman's coefficient of pairs without NaN; None where it is not defined."""
    x, y = _average_ranks(values), _average_ranks(returns)
    mean = (len(x) + 1) / 2
    xy = sum((a - mean) * (b - mean) for a, b in zip(x, y, strict=True))
    xx = sum((a - mean) ** 2 for a in x)
    yy = sum((b - mean) ** 2 for b in y)
    return xy / math.sqrt(xx * yy) if len(x) >= 3 and xx > 0 and yy > 0 else None


def _average_ranks(values):
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


# --- eligibility, search, factor ------------------------------------------------------------------------------------


def eligible_rows(patterns, date, code, bar, window_bars):
    """Rows of the patterns that a sample may be compared with."""
    rows = []
    for row in range(len(patterns)):
        known = patterns.known_on[row] <= date
        overlaps = patterns.code[row] == code and abs(int(patterns.bar[row]) - int(bar)) < window_bars
        if known and not overlaps:
            rows.append(row)
    return rows


def similarity(one, other):
    """Inner product of two float32 vectors, in float64."""
    return float((one.astype(np.float64) * other.astype(np.float64)).sum())


def search_one(patterns, vector, date, code, bar, settings, window_bars, window=None, windows=None):
    """Matches of one sample as (row, similarity), best first, and the number of eligible patterns.

    In full mode `window` is the sample's, a list of (open, high, low, close), and `windows` are the patterns'.
    """
    eligible = eligible_rows(patterns, date, code, bar, window_bars)

    def best_first(pair):
        return -pair[1], patterns.symbols[patterns.code[pair[0]]], patterns.end[pair[0]]

    scored = [(row, similarity(vector, patterns.vectors[row])) for row in eligible]
    scored = sorted(scored, key=best_first)[: settings.search_k]
    if settings.mode == "full":
        scored = [(row, full_similarity(window, windows[row])) for row, _ in scored[: settings.max_price_checks]]
        scored.sort(key=best_first)
        left = 1.0 - settings.pixel_weight - settings.edge_weight
        for place, (row, score) in enumerate(scored):
            pixels = edges = 0.0
            if place < settings.rerank_k:
                one, other = chart(window), chart(windows[row])
                pixels, edges = equal_pixels(one, other), equal_edges(one, other)
            total = left * score + settings.pixel_weight * pixels + settings.edge_weight * edges
            scored[place] = row, min(total, 1.0)
        looked = {row for row, _ in scored[: settings.rerank_k]}
        scored.sort(key=lambda pair: (-pair[1], pair[0] not in looked, *best_first(pair)[1:]))
    kept = []
    for row, score in scored:
        isolated = True
        for other, _ in kept:
            distance = abs(int(patterns.bar[row]) - int(patterns.bar[other]))
            if patterns.code[row] == patterns.code[other] and distance <= settings.isolation_bars:
                isolated = False
        floor = settings.min_similarity
        if isolated and len(kept) < settings.top_k and (floor is None or score >= floor):
            kept.append((row, score))
    return kept, len(eligible)


def factor_one(patterns, kept, date, settings):
    """Columns of one sample's factor value, or the reason why it has none."""
    wanted = settings.factor.min_matches
    if len(kept) < wanted:
        return f"too few matches: {len(kept)} of {wanted}"
    horizon = settings.patterns.horizons.index(settings.factor.return_horizon)
    total = won = rose = similar = summed = 0.0
    returns, weights = [], []
    for row, score in kept:
        age = (date.item() - patterns.end[row].item()).days
        half_life = settings.factor.half_life_days
        weight = max(score, 0.0) * (1.0 if half_life is None else 0.5 ** (age / half_life))
        weights.append(weight)
        return_ = float(patterns.returns[row, horizon])
        total += weight
        won += weight if patterns.barrier[row] == 1 else 0.0
        rose += weight if return_ > 0 else 0.0
        similar += score
        summed += return_
        returns.append(return_)
    if total == 0:
        return "matches without weight"
    # Not by `**`, which rounds one square in a thousand to the number beside the nearest one.
    effective = 1.0 / sum((weight / total) * (weight / total) for weight in weights)
    if effective < settings.factor.min_effective_matches * (1 - 1e-9):
        return "too few effective matches"
    weight = settings.factor.barrier_weight
    q05 = float(np.quantile(returns, 0.05))
    tail = sorted(return_ for return_ in returns if return_ <= q05)
    return {
        "value": weight * (won / total) + (1.0 - weight) * (rose / total),
        "barrier_win_rate": won / total,
        "return_win_rate": rose / total,
        "similarity": similar / len(kept),
        "return_mean": summed / len(kept),
        "return_median": float(np.quantile(returns, 0.5)),
        "return_q05": q05,
        "return_q25": float(np.quantile(returns, 0.25)),
        "return_q75": float(np.quantile(returns, 0.75)),
        "return_cvar": sum(tail) / len(tail),
        "effective_matches": effective,
    }


def outcome_rank(patterns, row, horizon):
    """Rank of a pattern's return among the patterns of its day that were known with it, -1/2 to 1/2; None if alone."""
    below = equal = among = 0
    for other in range(len(patterns)):
        if patterns.end[other] == patterns.end[row] and patterns.known_on[other] <= patterns.known_on[row]:
            among += 1
            below += patterns.returns[other, horizon] < patterns.returns[row, horizon]
            equal += patterns.returns[other, horizon] == patterns.returns[row, horizon]
    return None if among < 2 else (below + equal / 2) / among - 0.5


def mean_by_quarters(weights, outcome, quarter):
    """Mean, its error and the effective quarters of one sample, term by term; NaN where there are fewer than three."""
    nothing = math.nan, math.nan, math.nan
    total = sum(w for w, y in zip(weights, outcome, strict=True) if not math.isnan(y))
    if not total > 0:
        return nothing
    used = [(w / total, y, q) for w, y, q in zip(weights, outcome, quarter, strict=True) if not math.isnan(y)]
    mean = sum(w * y for w, y, _ in used)
    shares = {q: sum(w for w, _, other in used if other == q) for _, _, q in used}
    effective = 1 / sum(share**2 for share in shares.values())
    if effective < 3:
        return nothing
    pulls = [sum(w * (y - mean) for w, y, other in used if other == q) for q in shares]
    return mean, math.sqrt(effective / (effective - 1) * sum(pull**2 for pull in pulls)), effective


def from_many(patterns, vector, date, code, bar, settings, window_bars):
    """Columns of one sample's second value, from many, or the reason why it has none."""
    many, horizon = settings.factor.many, settings.patterns.horizons.index(settings.factor.return_horizon)
    eligible = eligible_rows(patterns, date, code, bar, window_bars)
    if len(eligible) < many:
        return f"too few windows: {len(eligible)} of {many}"
    scored = [(row, similarity(vector, patterns.vectors[row])) for row in eligible]
    scored.sort(key=lambda pair: (-pair[1], patterns.symbols[patterns.code[pair[0]]], patterns.end[pair[0]]))
    near = scored[:many]
    last = near[-1][1]
    alike = all(score == last for _, score in near)
    weights = [1.0 if alike else score - last for _, score in near]
    ranks = [outcome_rank(patterns, row, horizon) for row, _ in near]
    days = [patterns.end[row].item() for row, _ in near]
    if not any(weight > 0 for weight, rank in zip(weights, ranks, strict=True) if rank is not None):
        return "no window has a rank: fewer than 2 were known of each day"
    ranks = [math.nan if rank is None else rank for rank in ranks]
    mean, error, quarters = mean_by_quarters(weights, ranks, [(day.year, (day.month - 1) // 3) for day in days])
    if math.isnan(mean):
        return "too few effective quarters"
    reach = float(scipy.stats.t.ppf(0.975, quarters - 1)) * error
    return {
        "many_rank": mean,
        "many_low": mean - reach,
        "many_high": mean + reach,
        "many_quarters": quarters,
        "many_windows": sum(not math.isnan(rank) for rank in ranks),
    }


# --- bars ---


def is_sound_bar(symbol: str, open_: float, high: float, low: float, close: float, volume: float) -> bool:
    """Whether a bar keeps every promise of the validating door; a missing volume is NaN."""
    allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._^=-&/"
    if not 1 <= len(symbol) <= 32 or any(letter not in allowed for letter in symbol) or ".." in symbol:
        return False
    if any(not 1e-12 <= price <= 1e12 for price in (open_, high, low, close)):
        return False
    return low <= open_ <= high and low <= close <= high and not volume < 0 and volume != float("inf")


def traded_bars(frame):
    """Per symbol the adjusted bars (date, open, high, low, close, volume) of its traded days, in order."""
    found = {}
    for row in frame.itertuples():
        rows = found.setdefault(row.symbol, [])
        if not row.suspended:
            prices = [price * row.adj_factor for price in (row.open, row.high, row.low, row.close)]
            rows.append((row.date.date(), *prices, row.volume))
    return {symbol: sorted(rows, key=lambda row: row[0]) for symbol, rows in found.items()}


def factor_change(factor, before):
    """The nearest number of 30 significant bits to the quotient of two factors."""
    exact, power = Fraction(factor / before), 0
    while exact >= Fraction(2) ** (power + 1):
        power += 1
    while exact < Fraction(2) ** power:
        power -= 1
    return float(round(exact * Fraction(2) ** (29 - power)) * Fraction(2) ** (power - 29))


# --- charts, full-mode score ---------------------------------------------------------------------------------------


def chart(bars, rows=64):
    """`chart.render_charts` for one window of (open, high, low, close): columns from left to right, each bottom up."""
    bottom = min(low for _, _, low, _ in bars)
    top = max(high for _, high, _, _ in bars)
    flat = top - bottom <= 1e-9 * top

    def row(price):
        return math.floor((0.5 if flat else (price - bottom) / (top - bottom)) * (rows - 1) + (0.5 + 1e-9))

    columns = []
    for open_, high, low, close in bars:
        body, wick = [0] * rows, [0] * rows
        for y in range(row(low), row(high) + 1):
            wick[y] = 96
        for y in range(min(row(open_), row(close)), max(row(open_), row(close)) + 1):
            body[y] = wick[y] = 255 if close >= open_ * (1.0 - 1e-9) else 160
        columns += [body, wick, body]
    return columns


def volume_chart(bars, volumes, averages):
    """`volume_charts.render_volume_charts` for one window: 12 rows of volume, an empty one, and 51 of candles."""
    bottom, top = min(bar[2] for bar in bars), max(bar[1] for bar in bars)
    most = max((v for v in volumes if v > 0), default=1.0)
    columns = []
    for at, column in enumerate(chart(bars, rows=51)):
        volume, average = volumes[at // 3], averages[at // 3]
        lit = math.floor(volume / most * 12 + (0.5 + 1e-9)) if volume > 0 and at % 3 == 1 else 0
        if top - bottom > 1e-9 * top and bottom * (1 - 1e-9) <= average <= top * (1 + 1e-9):
            share = min(max((average - bottom) / (top - bottom), 0.0), 1.0)
            row = math.floor(share * 50 + (0.5 + 1e-9))
            column[row] = max(column[row], 64)
        columns.append([128] * lit + [0] * (13 - lit) + column)
    return columns


def full_score(one, other):
    """`score.pair_scores` for two windows of (open, high, low, close), in float64."""
    x, y = _z_normalised([bar[3] for bar in one]), _z_normalised([bar[3] for bar in other])
    dtw = 1 / (1 + warping_distance(x, y, 5) / len(x))
    price = sum(a * b for a, b in zip(x, y, strict=True)) / len(x)
    r, s = _z_normalised(_log_returns(one)), _z_normalised(_log_returns(other))
    return_ = sum(a * b for a, b in zip(r, s, strict=True)) / len(r)
    shape = 1 - sum(abs(a - b) for a, b in zip(_features(one), _features(other), strict=True)) / 6
    return 0.4 * dtw + 0.3 * (1 + price) / 2 + 0.2 * (1 + return_) / 2 + 0.1 * shape


def warping_distance(x, y, band):
    """Dynamic time warping of two rows of equal length with absolute differences, cell by cell."""
    best = {(-1, -1): 0.0}
    for i in range(len(x)):
        for j in range(max(0, i - band), min(len(y), i + band + 1)):
            before = [best.get(cell, math.inf) for cell in ((i - 1, j), (i, j - 1), (i - 1, j - 1))]
            best[i, j] = abs(x[i] - y[j]) + min(before)
    return best[len(x) - 1, len(y) - 1]


def _log_returns(bars):
    return [math.log(bar[3]) - math.log(before[3]) for before, bar in itertools.pairwise(bars)]


def _z_normalised(row, rounding=1e-12):
    mean = sum(row) / len(row)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row))
    return [(value - mean) / deviation if deviation > rounding else 0.0 for value in row]


def _features(bars):
    bottom = min(low for _, _, low, _ in bars)
    top = max(high for _, high, _, _ in bars)
    height = top - bottom if top - bottom > 1e-9 * top else top
    features = [(bars[0][3] - bottom) / height, (bars[-1][3] - bottom) / height, 0.0, 0.0, 0.0, 0.0]
    for open_, high, low, close in bars:
        span = high - low if high - low > 1e-9 * high else high
        features[2] += (close * (1.0 - 1e-9) > open_) / len(bars)
        features[3] += abs(close - open_) / span / len(bars)
        features[4] += (high - max(open_, close)) / span / len(bars)
        features[5] += (min(open_, close) - low) / span / len(bars)
    return features


# --- market-relative outcomes ----------------------------------------------------------------------------------------


def market_return(frames, entry, exit_):
    """Mean return of the symbols with bars on two days, as a fraction and exactly; None if there are fewer than two."""
    steps = []
    for bars in frames.values():
        days = [day.item() for day in bars.dates]
        if entry in days and exit_ in days:
            first, last = days.index(entry), days.index(exit_)
            if not bars.jumps[first + 1 : last + 1].any():
                steps.append(round((bars.close[last] / bars.close[first] - 1.0) * 2**26))
    return Fraction(sum(steps), 2**26 * len(steps)) if len(steps) > 1 else None


# --- context ---------------------------------------------------------------------------------------------------------


def trend(closes):
    """Trailing return, volatility and regime on the last of some adjusted closes; None where there are too few."""
    if len(closes) < 61:
        return None, None, None
    returns = [_return(before, now) for before, now in itertools.pairwise(closes[-61:])]
    logs = [math.log(1 + value) for value in returns]
    mean = sum(logs) / 60
    volatility = math.sqrt(sum((value - mean) ** 2 for value in logs) / 59)
    t = mean / (volatility / math.sqrt(60))
    return (
        math.prod(1 + value for value in returns) - 1,
        volatility,
        "bull" if t > 1 else "bear" if t < -1 else "ranging",
    )


def _return(before, now):
    return round((now / before - 1.0) * 2**26) / 2**26


def _volumes(rows):
    """Volumes in shares of the last of some rows (open, high, low, close, volume, factor)."""
    return [row[4] * rows[-1][5] / row[5] for row in rows]


def _side(before, now):
    return 0 if math.isclose(before, now, rel_tol=1e-9) else 1 if now > before else -1


def volume_ratio(rows):
    """`indicators.VolumeFigures.volume_ratio` on the last row; None where there is none."""
    volumes = _volumes(rows[-21:])
    return volumes[-1] / (sum(volumes[:-1]) / 20) if len(volumes) == 21 and sum(volumes[:-1]) > 0 else None


def obv_slope(rows):
    """`indicators.VolumeFigures.obv_slope` on the last row."""
    rows = rows[-20:]
    volumes = _volumes(rows)
    if len(rows) < 20 or sum(volumes) == 0:
        return None
    obv = [0.0]
    for at in range(1, 20):
        obv.append(obv[-1] + _side(rows[at - 1][3], rows[at][3]) * volumes[at])
    return float(np.polyfit(range(20), obv, 1)[0]) / (sum(volumes) / 20)


def cmf(rows):
    """`indicators.VolumeFigures.cmf` on the last row."""
    rows = rows[-20:]
    volumes = _volumes(rows)
    if len(rows) < 20 or sum(volumes) == 0:
        return None
    flow = 0.0
    for (_, high, low, close, _, _), volume in zip(rows, volumes, strict=True):
        if not math.isclose(high, low, rel_tol=1e-9):
            flow += (2 * close - low - high) / (high - low) * volume
    return flow / sum(volumes)


def mfi(rows):
    """`indicators.VolumeFigures.mfi` on the last row."""
    rows = rows[-15:]
    if len(rows) < 15:
        return None
    typical = [(row[1] + row[2] + row[3]) / 3 for row in rows]
    flow = {-1: 0.0, 0: 0.0, 1: 0.0}
    for at in range(1, 15):
        flow[_side(typical[at - 1], typical[at])] += typical[at] / rows[at][5] * rows[at][4]
    return 100 * flow[1] / (flow[1] + flow[-1]) if flow[1] + flow[-1] > 0 else None


def market_returns(bars):
    """`indicators.market_returns` by day, of bars as `traded_bars` gives them."""
    returns = {}
    for rows in bars.values():
        for before, now in itertools.pairwise(rows):
            if (now[0] - before[0]).days <= 20:
                returns.setdefault(now[0], []).append(_return(before[4], now[4]))
    return {day: sum(each) / len(each) for day, each in returns.items()}


def full_similarity(one, other):
    """The full-mode score as full mode has it, of rounded numbers; 0..1."""
    x, r, f = _rounded_shape(one)
    y, s, g = _rounded_shape(other)
    dtw = 1 / (1 + warping_distance(x, y, 5) / (256 * len(x)))
    shape = 1 - sum(abs(a - b) for a, b in zip(f, g, strict=True)) / (256 * 6)
    return min(0.4 * dtw + 0.3 * _rounded_correlation(x, y) + 0.2 * _rounded_correlation(r, s) + 0.1 * shape, 1.0)


def _rounded_shape(bars):
    """Closes, log returns and features in 256 steps."""
    closes = [bar[3] for bar in bars]
    rows = _z_normalised(closes, 1e-9 * min(bar[2] for bar in bars)), _z_normalised(_log_returns(bars), 1e-9)
    return *([_steps(float(np.float32(value))) for value in row] for row in rows), [_steps(f) for f in _features(bars)]


def _steps(value):
    return math.floor(value * 256 + 0.500001)


def _rounded_correlation(x, y):
    """1 for rows that rise and fall together, 0 for opposite ones, a half where one is constant."""
    xx, xy, yy = (sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((x, x), (x, y), (y, y)))
    r = xy / math.sqrt(xx * yy) if xx and yy else 0.0
    return 0.5 + 0.5 * min(max(r, -1.0), 1.0)


def equal_pixels(one, other):
    """Pixels of two charts that are lit alike, as a share of those that are lit in either."""
    pairs = [pair for columns in zip(one, other, strict=True) for pair in zip(*columns, strict=True) if any(pair)]
    return sum(a == b for a, b in pairs) / len(pairs)


def equal_edges(one, other):
    """Edges of two charts that lie within one row of each other, as a share of all."""
    near = 0
    for column, another in zip(one, other, strict=True):
        rows, others = ([y for y in range(64) if each[y]] for each in (column, another))
        near += (abs(rows[0] - others[0]) <= 1) + (abs(rows[-1] - others[-1]) <= 1)
    return near / (2 * len(one))
