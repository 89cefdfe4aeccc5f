"""`python -m tests.endurance [--days 500] [--symbols N]`: a table, by every 50 days, of what may grow.

Some ten minutes on two quiet cores as it is. Memory grows with the rows that a worker holds, and the home with what is
stored: each day adds a bar, a pattern and at most two values a symbol.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from flows.local_stack.warm_cluster import measured_seldom
from kline_core._text import table
from tests.endurance.measured import Processes, files_of
from tests.endurance.story import SAMPLES, Story
from tests.support.processes import scheduler_process


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--days", type=int, default=500)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--keep-days", type=int, default=30, help="days that upkeep keeps readable")
    parser.add_argument("--every", type=int, default=50, help="days between two lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kline-endurance-") as scratch:
        folder = Path(scratch)
        with scheduler_process(folder, **measured_seldom()) as (address, scheduler):
            processes = Processes.of(scheduler.pid)
            story = Story(folder, address, options.days, options.symbols, options.keep_days, options.samples)
            rows: list[dict[str, float]] = []
            started, before = perf_counter(), 0
            for day in range(1, options.days + 1):
                story.day()
                if day % options.every == 0 or day == options.days:
                    seconds = (perf_counter() - started) / (day - before)
                    row = {"day": float(day), "s a day": seconds}
                    rows.append(row | processes.measured() | files_of(story.home.folder))
                    print(" ".join(f"{name} {_short(value)}" for name, value in rows[-1].items()), file=sys.stderr)
                    started, before = perf_counter(), day
    print(table(list(rows[0]), [[_short(value) for value in row.values()] for row in rows]))
    return 0


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
