"""Report of a run: its samples symbol by symbol, and whether enough of them have a value."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from kline_core.errors import RunFailedError
from kline_core.search.recall import Recall


@dataclass(slots=True)
class SymbolResult:
    """Counts of one symbol's samples: `samples = done + failed + reused`.

    A sample without a value counts as failed, whether it was computed now or is stored already.
    """

    symbol: str
    samples: int = 0
    done: int = 0
    failed: int = 0
    reused: int = 0
    refreshed: int = 0
    """Dates of earlier runs, beside the samples, whose stored values no longer held and were computed again."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Failed samples by reason."""
    many: int = 0
    """Samples with a second value, from many."""
    many_reasons: Counter[str] = field(default_factory=Counter)
    """Samples with a window and without a second value, by reason; empty if none was asked for."""
    problem: str | None = None
    """Why there are no samples at all; None if there are some."""
    broke: bool = False
    """True if the problem is an error, not a lack of bars; stored values remain."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Seconds by stage, all threads together."""

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, without times."""
        counts = {name: getattr(self, name) for name in ("symbol", "samples", "done", "failed", "reused", "refreshed")}
        return counts | {"problem": self.problem, "broke": self.broke, "reasons": dict(self.reasons)}


@dataclass(frozen=True, slots=True)
class SecondValues:
    """How many samples of a run have a second value, from many."""

    values: int
    reasons: Counter[str]
    """Samples with a window and without a second value, by reason."""

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain JSON values."""
        return {"values": self.values, "reasons": dict(self.reasons.most_common())}


@dataclass(slots=True)
class RunReport:
    """Report of a run."""

    run_id: str
    fingerprint: str
    versions: dict[str, int | None]
    """Versions of `bars` and `patterns` that the run read."""
    n_patterns: int
    symbols: list[SymbolResult]
    seconds: dict[str, float]
    """Wall-clock seconds `load` and `total`; the stages of the computation are summed over threads."""
    recall: Recall | None = None
    """Measured recall of an approximate index; None for the exact one."""
    newer_bars: int | None = None
    """Version of `bars` at the end of the run, if other bars came meanwhile, which the run did not read; else None."""
    years: dict[int, str] = field(default_factory=dict)
    """Fingerprint of the values of each year, of a run with an encoder for each; `fingerprint` is then the last."""

    @property
    def newer(self) -> str | None:
        """That bars came meanwhile, in one line; None if none did."""
        if self.newer_bars is None:
            return None
        return f"bars came during the run (version {self.newer_bars}), which read version {self.versions['bars']}"

    def count(self, name: str) -> int:
        """Sum over all symbols of samples, done, failed, reused or refreshed."""
        return sum(getattr(result, name) for result in self.symbols)

    @property
    def reasons(self) -> Counter[str]:
        """Failed samples by reason, over all symbols."""
        return _together(result.reasons for result in self.symbols)

    @property
    def many(self) -> SecondValues | None:
        """Second values, over all symbols; None if none was asked for."""
        reasons = _together(result.many_reasons for result in self.symbols)
        values = self.count("many")
        return SecondValues(values, reasons) if values or reasons else None

    @property
    def broken(self) -> list[SymbolResult]:
        """Symbols without samples."""
        return [result for result in self.symbols if result.problem is not None]

    def without_broken(self) -> "RunReport":
        """The report without the symbols that broke."""
        return replace(self, symbols=[result for result in self.symbols if not result.broke])

    def check(self, max_failed_share: float) -> None:
        """Raise `RunFailedError` if a symbol broke, too many samples failed, or no symbol has a sample."""
        samples, failed = self.count("samples"), self.count("failed")
        if broke := [f"{result.symbol} ({result.problem})" for result in self.symbols if result.broke]:
            raise RunFailedError(
                f"{len(broke)} of {len(self.symbols)} symbols broke: {', '.join(broke[:3])}"
                f"{' ...' if len(broke) > 3 else ''}; the values of the others are stored, run again for the rest",
                report=self,
                reasons=self.reasons,
                symbols=[result.symbol for result in self.symbols if result.broke],
            )
        if samples == 0:
            problems = "; ".join(sorted({f"{result.symbol}: {result.problem}" for result in self.broken})[:3])
            raise RunFailedError(
                f"no symbol has a sample ({problems or 'no symbols'}); ingest more bars",
                report=self,
                reasons=self.reasons,
                symbols=[result.symbol for result in self.broken],
            )
        # Divided, since 0.29 * 100 is less than 29.
        if failed / samples > max_failed_share:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common(5))
            raise RunFailedError(
                f"{failed} of {samples} samples failed, more than max_failed_share {max_failed_share:g} allows: "
                f"{reasons}; the values that could be computed are stored",
                report=self,
                failed_share=failed / samples,
                reasons=self.reasons,
            )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values; `years` only where there are some."""
        totals = {name: self.count(name) for name in ("samples", "done", "failed", "reused", "refreshed")}
        return {
            "run_id": self.run_id,
            "fingerprint": self.fingerprint,
            **({"years": {str(year): each for year, each in self.years.items()}} if self.years else {}),
            "versions": self.versions,
            "newer_bars": self.newer_bars,
            "patterns": self.n_patterns,
            "recall": None if self.recall is None else self.recall.to_dict(),
            **totals,
            "reasons": dict(self.reasons.most_common()),
            **({} if (many := self.many) is None else {"many": many.to_dict()}),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "symbols": [result.to_dict() for result in self.symbols],
        }


def _together(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        # Those of nearly all symbols are empty, and a sum of thousands would copy them all each time.
        if each:
            total.update(each)
    return total
