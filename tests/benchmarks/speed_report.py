"""What the rounds say: as tables for a person, and as one document for a program."""

from dataclasses import asdict, dataclass, field
from typing import Any

from kline_core._text import table
from tests.benchmarks.machine import Peaks
from tests.benchmarks.measured import Measured, Spread, middle_round, ratio
from tests.benchmarks.ours import Facts
from tests.benchmarks.serial import Check

OURS = "ours, 2 threads"
"""What every other way is compared with."""
LIMITED = {"ours, 1 thread": 1, OURS: 2}
"""Ways that are compared with the limit of so many threads."""

NOISE = 0.1
"""Cores: from here on other programs disturb what needs all cores at once."""


@dataclass(slots=True)
class Results:
    """Everything that one run has found."""

    date: str
    machine: dict[str, Any]
    home: str
    symbol: str
    facts: Facts
    peaks: Peaks
    elsewhere: float
    """Cores that other programs kept busy while the rounds went on, on average."""
    ways: dict[str, list[Measured]]
    """The rounds of each way, by its name, in the order of the table."""
    check: Check | None = None
    """Of the serial way with ours."""
    said: dict[str, str] = field(default_factory=dict)
    """What each way does, in one line."""


def document(results: Results) -> dict[str, Any]:
    """All of it in plain JSON values, with what the tables show computed already."""
    ways = {
        name: {
            "what": results.said.get(name, ""),
            "rounds": [asdict(each) for each in rounds],
            "seconds": asdict(Spread.of([each.seconds for each in rounds])),
            "times_ours": ratio(rounds, results.ways[OURS]),
        }
        for name, rounds in results.ways.items()
    }
    roofline = {name: limits(results, name) for name in LIMITED if name in results.ways}
    rest = {name: getattr(results, name) for name in ("date", "machine", "home", "symbol", "elsewhere")}
    parts = {"facts": asdict(results.facts), "peaks": asdict(results.peaks)}
    check = None if results.check is None else asdict(results.check)
    return rest | parts | {"ways": ways, "roofline": roofline, "check": check}


def limits(results: Results, name: str) -> list[dict[str, Any]]:
    """Rows of the roofline of one of our ways: each stage, what lies between them, and all together.

    A stage that is added up over threads is divided by their number: what the clock would show if they shared it
    evenly. Where they do not, and one waits for the other, that is part of all else.
    """
    threads, middle = LIMITED[name], middle_round(results.ways[name])
    rate, stream = results.peaks.fastest(threads)[1], results.peaks.bytes[threads]
    rows: list[dict[str, Any]] = []
    total = 0.0
    for stage, work in results.facts.work.items():
        least = work.seconds(rate, stream)
        total += least
        rows.append(_limit(stage, work.operations, work.bytes, least, middle.stages[stage] / threads))
    between = middle.seconds - sum(row["measured"] for row in rows)
    rows.append(_limit("all else, waiting", 0.0, 0.0, 0.0, between))
    operations, moved = (sum(row[name] for row in rows) for name in ("operations", "bytes"))
    return [*rows, _limit("together", operations, moved, total, middle.seconds)]


def _limit(stage: str, operations: float, moved: float, least: float, measured: float) -> dict[str, Any]:
    times = measured / least if least else None
    return {
        "stage": stage,
        "operations": operations,
        "bytes": moved,
        "limit": least,
        "measured": measured,
        "times_limit": times,
    }


def text(results: Results) -> str:
    """The tables."""
    return "\n\n".join([_head(results), _ways(results), *_stages(results), *_rooflines(results), _foot(results)])


def _head(results: Results) -> str:
    facts, machine = results.facts, results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return "\n".join(
        [
            f"{results.date}: {machine['processor']}{without(machine['left_out'])}, {machine['cores']} cores, "
            f"{machine['memory_gib']} GiB; {machine['system']}, Python {machine['python']}",
            versions,
            f"{facts.samples} samples of {results.symbol} from {facts.first} to {facts.last} "
            f"({facts.with_value} of them with a value), against {facts.patterns} patterns of {facts.dim} numbers "
            f"from {facts.symbols} symbols; a sample may see {100 * facts.mean_known:.0f} % of them on average",
            f"home: {results.home}",
            f"other programs kept {results.elsewhere:.2f} cores busy meanwhile"
            + "; measure again when they do not" * (results.elsewhere > NOISE),
        ]
    )


def without(left_out: list[str]) -> str:
    """What was left out of a processor's instructions, as it follows its name."""
    return f" without {', '.join(left_out)}" if left_out else ""


def _ways(results: Results) -> str:
    rows = []
    for name, rounds in results.ways.items():
        seconds = Spread.of([each.seconds for each in rounds])
        done = sorted({each.done for each in rounds})
        computed = f"{done[-1]}" if done[-1] >= results.facts.samples else f"{done[-1]}, scaled up"
        times = f"{ratio(rounds, results.ways[OURS]):.2f}"
        rows.append([name, computed, len(rounds), f"{seconds.median:.3f}", str(seconds), times, results.said[name]])
    header = ["way", "samples a round", "rounds", "seconds", "spread", "times ours", "what it does"]
    return f"Seconds for {results.facts.samples} samples, medians of rounds taken in turn\n" + table(header, rows)


def _stages(results: Results) -> list[str]:
    parts = []
    for name, rounds in results.ways.items():
        middle = middle_round(rounds)
        if not middle.stages:
            continue
        shown = ", ".join(f"{stage} {seconds:.4g}" for stage, seconds in middle.stages.items())
        memory = "" if middle.peak_mib is None else f"; peak memory {middle.peak_mib:.0f} MiB"
        parts.append(f"  {name}: {shown}{memory}")
    return ["Seconds by stage in the median round, added up over threads\n" + "\n".join(parts)]


def _rooflines(results: Results) -> list[str]:
    parts = []
    for name, threads in LIMITED.items():
        if name not in results.ways:
            continue
        product, rate = results.peaks.fastest(threads)
        rows = [
            [
                row["stage"],
                f"{row['operations'] / 1e9:.2f}",
                f"{row['bytes'] / 1e6:.1f}",
                f"{1000 * row['limit']:.2f}",
                f"{1000 * row['measured']:.2f}",
                "" if row["times_limit"] is None else f"{row['times_limit']:.1f}",
            ]
            for row in limits(results, name)
        ]
        title = (
            f"Limit of {name}: {rate / 1e9:.0f} GFLOP/s ({product}), "
            f"{results.peaks.bytes[threads] / 1e9:.1f} GB/s, the best of this run"
        )
        parts.append(title + "\n" + table(["stage", "GFLOP", "MB", "limit ms", "measured ms", "times limit"], rows))
    rates = [
        [name, *(f"{results.peaks.operations[threads][name] / 1e9:.0f}" for threads in results.peaks.operations)]
        for name in next(iter(results.peaks.operations.values()))
    ]
    header = ["float32 product", *(f"GFLOP/s, {threads} thread(s)" for threads in results.peaks.operations)]
    return [*parts, table(header, rates)]


def _foot(results: Results) -> str:
    lines = [
        "The limit takes for granted: exact, in float32; every chart once through the network, every vector once",
        "times every pattern known on its date, every byte moved once; all else (choosing the best, looking at",
        "candidates again, Python, the cluster) free. Measured stages are the median round's, shared out over threads.",
    ]
    check = results.check
    if check is not None:
        lines += [
            f"Serial against ours: {check.identical} of {check.samples} samples are equal bit for bit in value, status",
            "and matches, where each chart is encoded in the padded shape. With the batch of one, as it is timed,",
            f"{check.same_matches_alone} have the same matches; values differ by {check.difference_alone:.1e} at most.",
        ]
    return "\n".join(lines)
