"""Report of a replay: which values and matches of a run are the same when they are computed again."""

from dataclasses import dataclass, field
from typing import Any

from kline_core.factor.comparison import CLOSE, Comparison


@dataclass(frozen=True, slots=True)
class Compared:
    """Values of some samples, and their matches."""

    values: Comparison = field(default_factory=Comparison)
    matches: Comparison = field(default_factory=Comparison)

    def __add__(self, other: "Compared") -> "Compared":
        """Both together."""
        return Compared(self.values + other.values, self.matches + other.matches)

    @property
    def same(self) -> bool:
        """Whether all of them are equal bit for bit."""
        return self.values.same and self.matches.same

    def to_dict(self) -> dict[str, Any]:
        """The comparisons as plain JSON values."""
        return {"values": self.values.to_dict(), "matches": self.matches.to_dict()}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Report of a replay."""

    run_id: str
    fingerprint: str
    versions: dict[str, int | None]
    """Versions of `bars` and `patterns` that were read again."""
    own: Compared
    """Values that the run computed, and their matches."""
    reused: Compared
    """Values of earlier runs that the run re-used, and their matches."""
    uncompared: dict[str, int]
    """Number of values of the run that could not be compared, by the reason."""
    unstored: int
    """Samples that were asked for and never stored, since the run was cut off or their symbol broke."""
    processors: tuple[str, str]
    """Processor of the run's worker, and of this one's."""
    seconds: float

    @property
    def same(self) -> bool:
        """Whether every value and match of the run was there and is the same bit for bit."""
        return self.own.same and self.reused.same and not self.uncompared

    @property
    def failure(self) -> str | None:
        """Why the replay is no proof, in one line; None if it is one."""
        if self.same:
            return None
        both = self.own + self.reused
        said = [
            f"{part.total - part.equal} of {part.total} {name} are not the same bit for bit"
            + (f" (such as {part.example})" if part.example else f", but within {CLOSE:g}")
            for name, part in (("values", both.values), ("matches", both.matches))
            if not part.same
        ]
        said += [f"{count} values cannot be compared ({reason})" for reason, count in self.uncompared.items()]
        return f"run {self.run_id}: {'; '.join(said)}; {self._remedy(both)}"

    def _remedy(self, both: Compared) -> str:
        if both.values.different or both.matches.different:
            return "`kline verify` says whether tables are damaged"
        if not both.same:
            return self._why_close()
        return "restore a copy of the home from that time to compare all"

    def _why_close(self) -> str:
        then, now = self.processors
        if then == now:
            return "encode on the same device, with the same versions of the libraries (`kline doctor`)"
        return f"vectors differ in their last bits between processors: the run had {then}, here is {now}"

    def text(self) -> str:
        """The report as text for a terminal."""
        versions = ", ".join(f"{table} {version}" for table, version in self.versions.items())
        lines = [f"run {self.run_id} again from {versions}, in {self.seconds:.1f} s; nothing was stored"]
        for what, part in (("computed by the run", self.own), ("re-used from earlier runs", self.reused)):
            for name, count in (("values", part.values), ("matches", part.matches)):
                if count.total:
                    lines.append(f"{count.total} {name} {what}: {count}")
        lines += [f"{count} values were not compared: {reason}" for reason, count in self.uncompared.items()]
        if self.unstored:
            lines.append(f"{self.unstored} samples were never stored: the run was cut off, or their symbol broke")
        if self.processors[0] != self.processors[1]:
            lines.append(f"processor of the run: {self.processors[0]}; here: {self.processors[1]}")
        if self.same:
            lines.append("every value and match is the same, bit for bit")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "run_id": self.run_id,
            "fingerprint": self.fingerprint,
            "versions": self.versions,
            "same": self.same,
            "computed": self.own.to_dict(),
            "reused": self.reused.to_dict(),
            "uncompared": self.uncompared,
            "unstored": self.unstored,
            "processors": {"run": self.processors[0], "here": self.processors[1]},
            "seconds": round(self.seconds, 3),
        }
