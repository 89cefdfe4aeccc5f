"""All settings with their defaults.

They form two groups, because two tables depend on them:

* `PatternSettings` say what a pattern is. The `patterns` table carries them, and their fingerprint refuses a request
  for other ones.
* `FactorSettings` say how matches become a value. Together with the pattern settings and the encoder they make the
  fingerprint under which values are stored.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, Self

from kline_core._setting_types import check, check_types, is_whole, plain
from kline_core._text import quoted
from kline_core.errors import SettingError

METHOD = 3
"""Version of the method, part of every fingerprint. Raise it with any change of charts, outcomes, matches or values, so
that values of older and newer code are never mixed."""
MODES = ("fast", "full")
"""Names of the search modes, see `kline_core.search.modes`."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "seed": {},
    "broad": {
        "top_k": 50,
        "search_k": 2000,
        "half_life_days": None,
        "min_matches": 20,
        "min_effective_matches": 10.0,
    },
}
"""Factor settings by the name of their preset. `seed` is the default: five matches, of which one often has nearly all
of the weight. `broad` is the mean of many: fifty matches of any age, of which ten must carry weight."""
FULL_MODE: Final = {"top_k": 10, "search_k": 2000}
"""What full mode has where nothing else is said, see `FactorSettings.of_mode`."""
Index = Literal["exact", "ivf"]
USUAL_SCALES: Final = {1: 0.6, 5: 0.3, 21: 0.1}
"""Weights of the usual time scales: daily, weekly and monthly candles, by their traded bars."""
MOST_SCALES = 8
"""Upper bound of time scales, since every one makes the vectors longer."""
FEWEST_MANY: Final = 3
"""Windows below which no mean of many has an interval, see `kline_core.factor.kernel_means`."""
MOST = 1_000_000
"""Upper bound of bars, days, strides and candidates: more than any market has, and far from what a machine's integers
hold."""


@dataclass(frozen=True, slots=True)
class PatternSettings:
    """What a window is, what counts as its outcome, and which windows become patterns."""

    window_bars: int = 20
    """Traded bars in a window."""
    max_gap_days: int = 20
    """Longest hole inside a window, in calendar days: Shanghai was closed from 1999-02-09 to 1999-03-01."""
    entry_lag_bars: int = 1
    """Bars from the window's end to the entry bar, at whose close the trade begins."""
    horizons: tuple[int, ...] = (1, 5, 10, 20)
    """Forward-return horizons in bars, counted from the entry bar."""
    barrier_up: float = 0.05
    """Distance of the upper barrier from the entry's close, as a fraction of it."""
    barrier_down: float = 0.03
    """Distance of the lower barrier from the entry's close, as a fraction of it."""
    barrier_bars: int = 20
    """Bars after the entry bar in which a barrier may be touched: the vertical barrier."""
    pattern_stride: int = 1
    """A window becomes a pattern if the ordinal of its last session in `calendar` is a multiple of this; 1 needs no
    calendar."""
    calendar: str = "XSHG"
    """exchange_calendars name; used only if `pattern_stride` is above 1."""
    allow_jumps: bool = False
    """Whether windows and outcomes may reach across unexplained jumps (`kline_core.bars.jumps`)."""
    market_relative: bool = False
    """Whether forward returns are minus the mean of the home's symbols over the same days
    (`kline_core.windows.market`); barriers stay those of the symbol's own price."""
    scales: tuple[int, ...] = (1,)
    """Time scales: traded bars per candle (`kline_core.windows.prices`). A window has a chart of `window_bars` candles
    in each, and spans the longest of them."""
    scale_weights: tuple[float, ...] = ()
    """Weight of each of the scales in a similarity; they sum to 1. () stands for the usual ones, see
    `weights_of_scales`, and they become it."""

    def __post_init__(self) -> None:
        """Check types and bounds."""
        check_types(self)
        check(2 <= self.window_bars <= 250, "window_bars", self.window_bars, "between 2 and 250")
        for name in ("max_gap_days", "entry_lag_bars", "barrier_bars", "pattern_stride"):
            value = getattr(self, name)
            check(value >= 1, name, value, "at least 1")
            check(value <= MOST, name, value, f"at most {MOST}")
        check(
            len(self.horizons) > 0 and min(self.horizons) >= 1 and list(self.horizons) == sorted(set(self.horizons)),
            "horizons",
            self.horizons,
            "distinct, increasing and at least 1",
        )
        check(self.horizons[-1] <= MOST, "horizons", self.horizons, f"at most {MOST}")
        check(self.barrier_up > 0, "barrier_up", self.barrier_up, "above 0")
        check(0 < self.barrier_down < 1, "barrier_down", self.barrier_down, "between 0 and 1")
        self._check_scales()

    def _check_scales(self) -> None:
        scales, weights = self.scales, self.scale_weights
        check(
            len(scales) > 0 and min(scales) >= 1 and list(scales) == sorted(set(scales)),
            "scales",
            scales,
            "distinct, increasing and at least 1",
        )
        check(len(scales) <= MOST_SCALES, "scales", scales, f"at most {MOST_SCALES} scales")
        check(self.span_bars <= MOST, "scales", scales, f"at most {MOST // self.window_bars} each")
        usual = _usual_weights(scales)
        if not weights:
            known = ", ".join(f"{weight:g} for {scale}" for scale, weight in USUAL_SCALES.items())
            bound = f"given for the scales {scales}, one for each; usual are {known} only"
            check(usual is not None, "scale_weights", weights, bound)
            return
        check(len(weights) == len(scales), "scale_weights", weights, f"one for each of the scales {scales}")
        # Before they are summed, since sums of larger ones may overflow.
        check(0 < min(weights) <= max(weights) <= 1, "scale_weights", weights, "above 0 and at most 1")
        check(abs(math.fsum(weights) - 1) <= 1e-9, "scale_weights", weights, "weights that sum to 1")
        if weights == usual:
            # One spelling of equal settings.
            object.__setattr__(self, "scale_weights", ())

    @property
    def weights_of_scales(self) -> tuple[float, ...]:
        """Weight of each of the `scales`.

        The usual ones are 0.6, 0.3 and 0.1 for the scales 1, 5 and 21, some of these as shares of their sum, and 1 for
        a single scale.
        """
        usual = self.scale_weights or _usual_weights(self.scales)
        assert usual is not None, "it was checked"
        return usual

    @property
    def span_bars(self) -> int:
        """Traded bars that a window spans: those of its chart in the largest of the `scales`."""
        return self.window_bars * max(self.scales)

    @property
    def options(self) -> str:
        """The options of the command line that ask for these settings, such as `--scales 1,5`; empty for the usual."""
        words = []
        usual = type(self)(calendar=self.calendar) if self.pattern_stride == 1 else type(self)()
        for field in fields(self):
            value = getattr(self, field.name)
            if value == getattr(usual, field.name):
                continue
            words.append(f"--{field.name.replace('_', '-')}")
            if not isinstance(value, bool):
                words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
        return " ".join(words)

    @property
    def outcome_bars(self) -> int:
        """Bars after a window's end until every one of its outcomes is known."""
        return self.entry_lag_bars + max(*self.horizons, self.barrier_bars)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The settings of plain JSON values, such as those of `to_dict`.

        Raises `SettingError` if they are out of bounds, and TypeError or KeyError if this version has other ones.
        """
        listed = {name: tuple(values[name]) for name in ("scales", "scale_weights") if name in values}
        return cls(**{**values, "horizons": tuple(values["horizons"]), **listed})

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values, without a calendar that `pattern_stride` does not use."""
        values = plain(self) | {"horizons": list(self.horizons)}
        for name in ("allow_jumps", "market_relative"):
            if not values[name]:
                del values[name]
        if self.pattern_stride == 1:
            del values["calendar"]
        if self.scales == (1,):
            del values["scales"], values["scale_weights"]
        else:
            values |= {"scales": list(self.scales), "scale_weights": list(map(float, self.weights_of_scales))}
        return values


def _usual_weights(scales: tuple[int, ...]) -> tuple[float, ...] | None:
    """See `PatternSettings.weights_of_scales`; None if one of several scales has no usual weight."""
    if len(scales) == 1:
        return (1.0,)
    if not set(scales) <= USUAL_SCALES.keys():
        return None
    weights = [USUAL_SCALES[scale] for scale in scales]
    return tuple(weight / math.fsum(weights) for weight in weights)


@dataclass(frozen=True, slots=True)
class FactorSettings:
    """How the matches of a sample are chosen and weighed into its factor value."""

    mode: str = "fast"
    """Name of the search mode, one of `MODES`. Full mode's own defaults of `top_k` and `search_k` come by `of_mode`."""
    top_k: int = 5
    """Matches of a sample, at most."""
    search_k: int = 300
    """Candidates of a sample, at most: the most similar ones."""
    isolation_bars: int = 20
    """Matches of one symbol lie more than this many bars apart."""
    min_matches: int = 5
    """Matches without which a sample has no value."""
    barrier_weight: float = 0.7
    """Weight of the barrier win rate in the value, 0..1; the return win rate has the rest."""
    return_horizon: int = 5
    """Horizon, in bars, of the forward returns that enter the value; one of `PatternSettings.horizons`."""
    half_life_days: float | None = 180.0
    """Age of a match, in calendar days, at which its weight is halved; None: every age weighs the same."""
    min_effective_matches: float = 1.0
    """Effective matches, 1 / sum of the squared shares of weight, without which a sample has no value. There are never
    fewer than 1, so 1 asks for nothing."""
    min_similarity: float | None = None
    """Patterns that score less, in the mode of the search, are no matches; None: no floor."""
    many: int = 0
    """Nearest eligible windows of which a second value is made (`kline_core.factor.many`); 0: none."""
    allow_seen: bool = False
    """Score dates up to an encoder's `trained_through` too, and mark them."""
    index: Index = "exact"
    """"ivf" compares a sample with only a part of a very long history; see `kline_core.search.ivf_index`."""
    probes: int = 96
    """Lists, of 1024, that a sample is compared with; used only if `index` is "ivf"."""
    min_recall: float = 0.99
    """Smallest share of the exact matches that an approximate index must find. No value depends on it."""

    max_price_checks: int = 2000
    """Candidates of a sample that are compared by their bars, at most; others are left out. Only full mode uses this
    and the next three."""
    rerank_k: int = 80
    """Candidates, the best by their bars, that are compared by their charts as well."""
    pixel_weight: float = 0.2
    """Weight of equal pixels in the similarity, 0..1; the score of the bars has what this and the next one leave."""
    edge_weight: float = 0.1
    """Weight of equal edges in the similarity, 0..1."""

    def __post_init__(self) -> None:
        """Check types and bounds."""
        check_types(self)
        if self.mode not in MODES:
            known = ", ".join(map(repr, MODES))
            raise SettingError(
                f"mode is {quoted(self.mode)}; only {known} {'is' if len(MODES) == 1 else 'are'} available",
                parameter="mode",
                value=self.mode,
                bound=f"one of {known}",
            )
        check(self.top_k >= 1, "top_k", self.top_k, "at least 1")
        check(self.search_k >= self.top_k, "search_k", self.search_k, f"at least top_k ({self.top_k})")
        check(self.search_k <= MOST, "search_k", self.search_k, f"at most {MOST}")
        check(self.isolation_bars >= 0, "isolation_bars", self.isolation_bars, "at least 0")
        check(self.isolation_bars <= MOST, "isolation_bars", self.isolation_bars, f"at most {MOST}")
        enough = f"between 1 and top_k ({self.top_k})"
        check(1 <= self.min_matches <= self.top_k, "min_matches", self.min_matches, enough)
        check(0 <= self.barrier_weight <= 1, "barrier_weight", self.barrier_weight, "between 0 and 1")
        age = self.half_life_days
        check(age is None or age > 0, "half_life_days", age, "above 0, or None for no decay")
        effective = self.min_effective_matches
        check(1 <= effective <= self.top_k, "min_effective_matches", effective, enough)
        floor = self.min_similarity
        check(floor is None or -1 <= floor <= 1, "min_similarity", floor, "between -1 and 1, or None for no floor")
        check(self.many == 0 or FEWEST_MANY <= self.many <= MOST, "many", self.many, f"0, or {FEWEST_MANY} to {MOST}")
        check(self.index in ("exact", "ivf"), "index", self.index, "'exact' or 'ivf'")
        if self.index != "exact":
            bound = "0 where index is 'ivf', which finds not all of the nearest"
            check(self.many == 0, "many", self.many, bound)
        check(1 <= self.probes <= 1024, "probes", self.probes, "between 1 and 1024")
        check(0 <= self.min_recall <= 1, "min_recall", self.min_recall, "between 0 and 1")
        if self.mode == "full":
            enough = f"at least top_k ({self.top_k})"
            check(self.max_price_checks >= self.top_k, "max_price_checks", self.max_price_checks, enough)
        check(1 <= self.max_price_checks <= MOST, "max_price_checks", self.max_price_checks, f"between 1 and {MOST}")
        check(1 <= self.rerank_k <= MOST, "rerank_k", self.rerank_k, f"between 1 and {MOST}")
        check(0 <= self.pixel_weight <= 1, "pixel_weight", self.pixel_weight, "between 0 and 1")
        rest = f"between 0 and what pixel_weight ({self.pixel_weight:g}) leaves of 1"
        check(0 <= self.edge_weight <= 1 + 1e-9 - self.pixel_weight, "edge_weight", self.edge_weight, rest)

    @classmethod
    def of_mode(cls, mode: str, **changes: Any) -> Self:
        """The settings of a mode where nothing else is said: `FULL_MODE` in full mode. `changes` go before these.

        Raises `SettingError` as the class itself, and TypeError for a setting that there is not.
        """
        own = FULL_MODE if mode == "full" else {}
        return cls(**{"mode": mode, **own, **changes})

    @property
    def candidates(self) -> int:
        """Candidates of a sample, at most."""
        return min(self.search_k, self.max_price_checks) if self.mode == "full" else self.search_k

    @property
    def return_weight(self) -> float:
        """Weight of the return win rate in the value."""
        return 1.0 - self.barrier_weight

    def to_dict(self) -> dict[str, Any]:
        """The settings that values depend on, as plain JSON values; without those that ask for nothing, and those of an
        index or mode not in use."""
        values = plain(self)
        del values["min_recall"]
        if self.min_effective_matches == 1:
            del values["min_effective_matches"]
        if self.min_similarity is None:
            del values["min_similarity"]
        if self.many == 0:
            del values["many"]
        if self.index == "exact":
            del values["index"], values["probes"]
        if self.mode != "full":
            del values["max_price_checks"], values["rerank_k"], values["pixel_weight"], values["edge_weight"]
        return values


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a factor value depends on, beside the bars and the encoder's weights."""

    patterns: PatternSettings = PatternSettings()
    factor: FactorSettings = FactorSettings()

    def __post_init__(self) -> None:
        """Check the bounds that span both groups."""
        check(
            self.factor.return_horizon in self.patterns.horizons,
            "return_horizon",
            self.factor.return_horizon,
            f"one of the horizons {self.patterns.horizons}",
        )

    @classmethod
    def preset(cls, name: str = "seed", **changes: Any) -> Self:
        """The settings of a preset, one of `PRESETS`, with changes to single fields of either group.

        A smaller `top_k` lowers `min_matches` and `min_effective_matches` to itself where these are not named.

        Raises `SettingError` if there is no such preset or field, or a value is out of bounds.

        Examples:
            >>> settings = kl.Settings.preset("broad", half_life_days=720, barrier_up=0.08)
            >>> settings.factor.top_k, settings.factor.half_life_days, settings.patterns.barrier_up
            (50, 720, 0.08)
        """
        known = ", ".join(map(repr, PRESETS))
        check(isinstance(name, str) and name in PRESETS, "preset", name, f"one of {known}")
        steps, factor = (
            {field.name for field in fields(group)} & changes.keys() for group in (PatternSettings, FactorSettings)
        )
        for field in changes.keys() - steps - factor:
            check(False, "setting", field, "a field of PatternSettings or FactorSettings")
        usual = FactorSettings.of_mode(changes.get("mode", "fast"), **PRESETS[name])
        chosen = {field: changes[field] for field in factor}
        if is_whole(top_k := changes.get("top_k")):
            for field in {"min_matches", "min_effective_matches"} - factor:
                chosen[field] = max(1, min(top_k, getattr(usual, field)))
        return cls(PatternSettings(**{field: changes[field] for field in steps}), replace(usual, **chosen))

    def fingerprint(self, encoder: str) -> str:
        """Key under which values are stored: 16 hexadecimal digits over all settings and the encoder's fingerprint."""
        factor = self.factor.to_dict()
        if self.factor.mode == "full":
            # Whichever of the two bounds them, the candidates are the same.
            factor |= {"search_k": self.factor.candidates, "max_price_checks": self.factor.candidates}
        return _digest({"patterns": self.patterns.to_dict(), "factor": factor, "encoder": encoder})


def pattern_fingerprint(settings: PatternSettings, encoder: str, method: int = METHOD) -> str:
    """Identity of a `patterns` table: 16 hexadecimal digits over its settings and its encoder's fingerprint.

    `method`: the method by which it was made.
    """
    return _digest({"patterns": settings.to_dict(), "encoder": encoder}, method)


def _digest(values: dict[str, Any], method: int = METHOD) -> str:
    return hashlib.sha256(json.dumps(values | {"method": method}, sort_keys=True).encode()).hexdigest()[:16]
