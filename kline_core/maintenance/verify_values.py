"""Checks of `factors` and `matches` against each other, the patterns and the bars.

Every row is checked by itself: keys, status, number and ranks of its matches, and that the window of each match ends
before the sample's date. Further checks depend on the row's settings and lineage (`history`):

* Same settings, and bars as they are now: everything is computed again from the stored matches and must be equal, bit
  for bit. Each match must be a pattern whose outcome was known, must not overlap the sample's window, and must keep its
  distance from the sample's other matches of the same symbol.
* Other settings: the barrier win rate must follow from the matches.
* Bars that have changed since: the barrier win rate must follow from the matches, and a note names the number of these
  rows. The next run computes them again.

The search is not repeated, since that takes the encoder and the index: no check tells whether these matches are the
most similar patterns, or computes a second value, from many, again (`kline_core.maintenance.verify_many`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kline_core._hashing import text_hash
from kline_core.bars.symbol_bars import group_by_code
from kline_core.factor.lineage import NEVER_REUSED, SEEN, sample_history
from kline_core.factor.match_digest import are_tied, match_digests
from kline_core.factor.weighting import factor_values
from kline_core.maintenance.findings import CUT_OFF, PENDING, Ledger
from kline_core.maintenance.verify_inputs import Expected
from kline_core.patterns.patterns import Patterns
from kline_core.search.results import Matches
from kline_core.settings import Settings
from kline_core.store.remedies import NEW_VALUES, RUN
from kline_core.store.schemas import FAILED, OK, UNTIED_LATER
from kline_core.typing import Dates, Flags, Floats64, Int64s
from kline_core.windows.windows import USABLE, usable_windows, window_content

_SAME = 1e-9
"""Largest difference of two sums of the same weights in different orders."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Rows of `factors` and of `matches`, joined."""

    factors: pa.Table
    matches: pa.Table
    dates: Dates
    """datetime64[D] (samples,)"""
    of: Int64s
    """int64 (matches,): row of the match's sample in `factors`, -1 if there is none."""
    rank: Int64s
    ok: Flags
    """bool (samples,): the status says that there is a value."""
    tidy: Flags
    """bool (samples,): stored once, with the stated number of matches, all of its own run, ranked from 1 without
    gaps."""

    def sample_name(self, row: int) -> str:
        """Symbol and date of a sample, by its row in `factors`."""
        return f"{self.factors['symbol'][row]} {self.factors['date'][row]}"

    def match_name(self, row: int) -> str:
        """A match with its sample, by its row in `matches`."""
        match, cells = f"{self.matches['match_symbol'][row]} {self.matches['match_end'][row]}", self.matches
        return f"{cells['symbol'][row]} {cells['date'][row]} with {match}"


def check_rows(factors: pa.Table, matches: pa.Table, ledger: Ledger) -> Joined:
    """Check every value and every match by itself, and join them."""
    key, match_key = _sample_keys(factors, matches)
    order = np.argsort(key, kind="stable")
    at = np.minimum(np.searchsorted(key[order], match_key), max(len(key) - 1, 0))
    of = np.full(len(match_key), -1, dtype=np.int64)
    if len(key):
        of = np.where(key[order][at] == match_key, order[at], -1)
    count = np.bincount(of[of >= 0], minlength=len(key))
    _, group, sizes = np.unique(key, return_inverse=True, return_counts=True)
    twice = sizes[group] > 1

    rank = matches["rank"].to_numpy().astype(np.int64)
    match_order = np.lexsort((rank, match_key))
    sorted_key, sorted_rank = match_key[match_order], rank[match_order]
    begins = np.flatnonzero(np.r_[True, sorted_key[1:] != sorted_key[:-1]]) if len(rank) else np.zeros(0, np.int64)
    place = np.arange(len(rank)) - np.repeat(begins, np.diff(np.r_[begins, len(rank)]))
    repeated, gap = np.zeros((2, len(rank)), dtype=bool)
    same = (place[1:] > 0) & (sorted_rank[1:] == sorted_rank[:-1])
    repeated[match_order[1:]] = same
    gap[match_order] = sorted_rank != place + 1

    status = factors["status"].cast(pa.string())
    ok, failed = (pc.equal(status, name).to_numpy() for name in (OK, FAILED))
    value, said = factors["value"].to_numpy(), factors["matches"].to_numpy()
    untidy = np.bincount(of[(of >= 0) & gap], minlength=len(key)) > 0
    foreign = _of_other_runs(factors, matches, of)
    # Two runs at once may store the same matches; the tie says whether they are.
    digested = np.flatnonzero((of >= 0) & matches["digest"].is_valid().to_numpy())
    digests = matches["digest"].take(pa.array(digested)).to_numpy().view(np.uint64)
    tied = are_tied(factors, digests, of[digested])
    mixed = (np.bincount(of[foreign], minlength=len(key)) > 0) & ~tied
    tidy = ~twice & (count == said) & ~untidy & ~mixed
    joined = Joined(factors, matches, factors["date"].to_numpy(), of, rank, ok, tidy)
    reasonless = factors["reason"].is_null().to_numpy()
    for bad, kind in (
        (twice, "rows that share symbol, date and fingerprint"),
        (~ok & ~failed, "rows whose status is neither ok nor failed"),
        # Phrased so that NaN fails too.
        (ok & ~((value >= 0) & (value <= 1)), "rows that are ok without a value between 0 and 1"),
        (failed & ~np.isnan(value), "rows that failed and have a value"),
        (failed & reasonless, "rows that failed without a reason"),
    ):
        ledger.add("factors", kind, bad, joined.sample_name, NEW_VALUES)
    kind = "rows with another number of matches than is stored"
    ledger.add("factors", kind, (count != said) & ~mixed, joined.sample_name, RUN)
    kind = "rows whose matches another run has overwritten"
    ledger.add("factors", kind, mixed, joined.sample_name, RUN, CUT_OFF)
    history = factors["history"].to_numpy().view(np.uint64)[of[digested]]
    strange = np.zeros(len(matches), dtype=bool)
    strange[digested] = (match_digests(matches.take(pa.array(digested)), history) != digests) & ~mixed[of[digested]]
    ledger.add("matches", "rows that have changed since they were stored", strange, joined.match_name, NEW_VALUES)
    apart = factors["match_digest"].is_valid().to_numpy() & ~tied & ~mixed
    kind = "rows whose value or matches are not those that were stored"
    ledger.add("factors", kind, apart, joined.sample_name, RUN)
    kind = "rows that belong to no value"
    ledger.add("matches", kind, of < 0, joined.match_name, RUN, CUT_OFF)
    date, match_end = (matches[name].to_numpy() for name in ("date", "match_end"))
    for bad, kind, remedy in (
        (repeated, "rows that share sample and rank", NEW_VALUES),
        (gap & ~repeated & (of >= 0), "rows whose ranks do not count from 1 without gaps", NEW_VALUES),
        (match_end >= date, "rows whose window was not over on the sample's date", NEW_VALUES),
    ):
        ledger.add("matches", kind, bad, joined.match_name, remedy)
    return joined


def _of_other_runs(factors: pa.Table, matches: pa.Table, of: Int64s) -> Int64s:
    """Matches that another run has stored than the value beside them: their rows, int64 (k,).

    Such a run was cut off before it stored its own value, or another one stored its value after it.
    """
    inside = np.flatnonzero(of >= 0)
    mine = factors["run_id"].cast(pa.string()).take(pa.array(of[inside]))
    theirs = matches["run_id"].cast(pa.string()).take(pa.array(inside))
    foreign: Int64s = inside[pc.not_equal(mine, theirs).to_numpy()]
    return foreign


def check_values(joined: Joined, sources: Sequence[tuple[Expected, Settings, str]], ledger: Ledger) -> None:
    """Check values against what they were computed from.

    Args:
        joined: Values with their matches.
        sources: For each table of patterns, one at least: the windows and outcomes that follow from the bars under its
            settings, the settings of the values to compute again, and the fingerprint of its encoder.
        ledger: Collects findings and notes.
    """
    known, again, changed = (np.zeros(len(joined.factors), dtype=bool) for _ in range(3))
    fingerprints = []
    for number, (expected, settings, encoder) in enumerate(sources):
        fingerprint = settings.fingerprint(encoder)
        mine = pc.equal(joined.factors["fingerprint"].cast(pa.string()), fingerprint).to_numpy()
        patterns = _as_patterns(expected)
        current, there, unexplained = _made_from(joined, expected, patterns)
        if number == 0:
            kind = "rows with a value on a day on which the symbol has no bar"
            ledger.add("factors", kind, joined.ok & ~there, joined.sample_name, RUN, PENDING)
        fit = mine & current & joined.tidy
        # The table of matches may lack the horizons of settings with which nothing was computed yet.
        if fit.any():
            _compute_again(joined, np.flatnonzero(fit), expected, patterns, settings, ledger)
        known, again, changed = known | mine, again | fit, changed | (mine & unexplained)
        fingerprints.append(fingerprint)
    check_win_rates(joined, ~again, ledger)
    if others := int((~known).sum()):
        named = " or ".join(fingerprints)
        ledger.notes.append(
            f"{others} values of other settings than fingerprint {named} were checked by themselves only; "
            "name their settings to have them computed again"
        )
    if count := int(changed.sum()):
        ledger.notes.append(
            f"{count} values were made from other bars than there are now, so they were checked by themselves only; "
            "the next run of their symbols makes them again"
        )


def check_win_rates(joined: Joined, where: Flags, ledger: Ledger) -> None:
    """Check the barrier win rate, the one figure that follows from the matches under any settings.

    `where`: bool (samples,): the samples to check.
    """
    rows = joined.of >= 0
    of, weight = joined.of[rows], joined.matches["weight"].to_numpy()[rows]
    won = joined.matches["barrier"].to_numpy()[rows] == 1
    total, winners = (np.bincount(of, weights, minlength=len(joined.factors)) for weights in (weight, weight * won))
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(winners / total - joined.factors["barrier_win_rate"].to_numpy()) <= _SAME)
    kind = "rows whose barrier_win_rate is not that of their matches"
    ledger.add("factors", kind, where & joined.ok & joined.tidy & wrong, joined.sample_name, NEW_VALUES)


def _as_patterns(expected: Expected) -> Patterns:
    """The patterns that the bars give, with vectors of length 0."""
    windows = expected.windows
    return Patterns.from_codes(
        symbols=windows.symbols,
        code=windows.code,
        end=windows.end,
        known_on=windows.known_on,
        bar=windows.bar,
        returns=expected.returns,
        barrier=expected.barrier,
        content=windows.content,
        vectors=np.zeros((len(windows), 0), dtype=np.float32),
    )


def _made_from(joined: Joined, expected: Expected, patterns: Patterns) -> tuple[Flags, Flags, Flags]:
    """Lineage of the samples, as three flags: bool (n,) each.

    `current`: computed from its window and the patterns that it may see, as both are now. `there`: the symbol has a bar
    on the date. `unexplained`: the stored lineage is neither the current one nor that of the stored reason.
    """
    codes, bars = _bars_of(joined, expected)
    there = bars >= 0
    steps = expected.settings
    usable, window = np.zeros(len(codes), dtype=bool), np.zeros(len(codes), dtype=np.uint64)
    for which, at in group_by_code(np.where(there, codes, -1).astype(np.int32)):
        if which < 0:
            continue
        frame = expected.frames[expected.windows.symbols[which]]
        fine = usable_windows(frame, steps)[bars[at]] == USABLE
        usable[at] = fine
        window[at[fine]] = window_content(frame.content, bars[at[fine]], 1 - steps.span_bars, 0)
    visible = patterns.history[patterns.n_known(joined.dates)]
    history = joined.factors["history"].to_numpy().view(np.uint64)
    as_now = [history == sample_history(np.full(len(window), code), window, visible) for code in (USABLE, SEEN)]
    current = usable & (as_now[0] | as_now[1])
    reasons = joined.factors["reason"].cast(pa.string()).combine_chunks().dictionary_encode()
    hashes = np.array([text_hash(reason) for reason in reasons.dictionary.to_pylist()] + [NEVER_REUSED], np.uint64)
    reasoned = history == hashes[pc.fill_null(reasons.indices, len(hashes) - 1).to_numpy(zero_copy_only=False)]
    explained = ~joined.ok & (reasoned | (history == NEVER_REUSED))
    return current, there, ~current & ~explained


def _bars_of(joined: Joined, expected: Expected) -> tuple[Int64s, Int64s]:
    """Symbol code and bar ordinal of each sample: int64 (n,) each, -1 if there is none."""
    symbol = joined.factors["symbol"].cast(pa.string())
    names = expected.windows.symbols
    codes = pc.fill_null(pc.index_in(symbol, value_set=pa.array(names, pa.string())), -1).to_numpy().astype(np.int64)
    bars = np.full(len(codes), -1, dtype=np.int64)
    for which, at in group_by_code(codes.astype(np.int32)):
        if which < 0:
            continue
        bars[at] = expected.frames[names[which]].find(joined.dates[at])
    return codes, bars


def _compute_again(
    joined: Joined, samples: Int64s, expected: Expected, patterns: Patterns, settings: Settings, ledger: Ledger
) -> None:
    """Check the matches of samples against the rules of the search, and compute the samples again from them."""
    windows, factor = expected.windows, settings.factor
    number = np.full(len(joined.factors) + 1, -1, dtype=np.int64)
    number[samples] = np.arange(len(samples))
    chosen = np.flatnonzero(number[joined.of] >= 0)
    sample = number[joined.of[chosen]]
    part = joined.matches.take(pa.array(chosen))
    found = windows.find(part["match_symbol"], part["match_end"])
    pattern, rank = np.maximum(found, 0), joined.rank[chosen]
    day, missing = joined.dates[samples][sample], found < 0
    broken = missing | (rank > factor.top_k)

    def add(kind: str, bad: Flags) -> None:
        ledger.add("matches", kind, bad, lambda row: joined.match_name(int(chosen[row])), NEW_VALUES)

    codes, bars = _bars_of(joined, expected)
    code, bar = (windows.code[pattern], windows.bar[pattern]) if len(windows) else (pattern, pattern)
    if len(windows):
        own = (code == codes[samples][sample]) & (np.abs(bar - bars[samples][sample]) < settings.patterns.span_bars)
        add("rows whose outcome was not known on the sample's date", ~missing & (windows.known_on[pattern] > day))
        add("rows that overlap the sample's own window", ~missing & own)
        add(
            "rows too near to another match of the same symbol",
            ~missing & _crowded(sample, code, bar, factor.isolation_bars),
        )
        differs = part["barrier"].to_numpy() != expected.barrier[pattern]
        for column, horizon in enumerate(settings.patterns.horizons):
            differs |= part[f"r{horizon}"].to_numpy() != expected.returns[pattern, column]
        add("rows with another outcome than their pattern", ~missing & differs)
    add("rows that are no pattern", missing)
    if factor.min_similarity is not None:
        add("rows below min_similarity", ~(part["similarity"].to_numpy() >= factor.min_similarity))
    add(f"rows with a rank above top_k ({factor.top_k})", rank > factor.top_k)

    rows = np.full((len(samples), factor.top_k), -1, dtype=np.int64)
    similarity, weight = np.full((2, len(samples), factor.top_k), np.nan)
    sound = np.bincount(sample[broken], minlength=len(samples)) == 0
    fit = sound[sample]
    cell = sample[fit], rank[fit] - 1
    rows[cell], similarity[cell] = pattern[fit], part["similarity"].to_numpy()[fit]
    weight[cell] = part["weight"].to_numpy()[fit]
    matches = Matches(rows, similarity, np.zeros(len(samples), dtype=np.int64))
    made = factor_values(patterns, matches, joined.dates[samples], settings)
    stored = joined.factors.take(pa.array(samples))

    def compare(name: str, differs: Flags) -> None:
        kind = f"rows whose {name} is not that of their matches"
        ledger.add("factors", kind, sound & differs, lambda row: joined.sample_name(int(samples[row])), NEW_VALUES)

    compare("weight", np.any(~_equal(weight, made.weights), axis=1))
    compare("order", np.any(np.diff(similarity, axis=1) > 0, axis=1))
    for name, figures in made.columns().items():
        if figures.dtype == np.float64:
            later = stored[name].is_valid().to_numpy() if name in UNTIED_LATER else True
            compare(name, ~_equal(stored[name].to_numpy(), figures) & later)
    compare("status", (made.status == OK) != joined.ok[samples])
    reasons = stored["reason"].to_numpy()
    compare("reason", (made.status == FAILED) & (reasons != made.reason))
    if factor.many:
        second, why_none = (stored[name].is_valid().to_numpy() for name in ("many_rank", "many_reason"))
        kind = "rows with neither a many_rank nor a reason why there is none"
        bad = ~second & ~why_none
        ledger.add("factors", kind, bad, lambda row: joined.sample_name(int(samples[row])), NEW_VALUES)


def _crowded(sample: Int64s, code: NDArray[np.integer], bar: NDArray[np.integer], distance: int) -> Flags:
    """bool (n,): matches at most `distance` bars after another match of the same sample and symbol."""
    order = np.lexsort((bar, code, sample))
    near = (np.diff(sample[order]) == 0) & (np.diff(code[order]) == 0) & (np.diff(bar[order]) <= distance)
    crowded = np.zeros(len(sample), dtype=bool)
    crowded[order[1:]] = near
    return crowded


def _equal(one: Floats64, other: Floats64) -> Flags:
    same: Flags = (one == other) | (np.isnan(one) & np.isnan(other))
    return same


def _sample_keys(factors: pa.Table, matches: pa.Table) -> tuple[Int64s, Int64s]:
    """One int64 key of symbol, date and fingerprint per row of either table."""
    keys = [table["date"].cast(pa.int32()).to_numpy().astype(np.int64) + 2**31 for table in (factors, matches)]
    shift = 32
    for name in ("symbol", "fingerprint"):
        columns = [table[name].cast(pa.string()) for table in (factors, matches)]
        both = pa.chunked_array([*columns[0].chunks, *columns[1].chunks], pa.string()).unique()
        keys = [key + (_codes(column, both) << shift) for key, column in zip(keys, columns, strict=True)]
        shift += 20
    return keys[0], keys[1]


def _codes(column: pa.ChunkedArray, names: pa.Array) -> Int64s:
    codes: Int64s = pc.index_in(column, value_set=names).to_numpy().astype(np.int64)
    return codes
