"""Progress bars on standard error."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from kline_core.compute.progress import SampleCount
from kline_core.compute.run_report import SymbolResult


def _pace() -> float:
    """Seconds between two states of a bar: a terminal overwrites them, a log keeps every one."""
    return 0.1 if sys.stderr.isatty() else 10.0


@contextmanager
def bar(what: str, unit: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; yields `update(done, total, note="")`."""
    with tqdm(desc=what, unit=unit, mininterval=_pace(), file=sys.stderr, dynamic_ncols=True) as shown:

        def update(done: int, total: int, note: str = "") -> None:
            shown.total = total
            shown.set_postfix_str(note, refresh=False)
            shown.update(done - shown.n)

        yield update


@contextmanager
def sample_bar(expected: Mapping[str, int], what: str = "run") -> Iterator[Callable[[SymbolResult], None]]:
    """A progress bar over samples, fed with the growing results of symbols; failed and re-used stand beside it.

    `expected`: upper bound of each symbol's samples; a symbol that has fewer lowers the total.
    """
    count = SampleCount(expected)
    with tqdm(
        desc=what, unit=" samples", total=count.total, mininterval=_pace(), file=sys.stderr, dynamic_ncols=True
    ) as shown:

        def update(result: SymbolResult) -> None:
            count.update(result)
            shown.total = count.total
            shown.set_postfix_str(f"failed {count.failed}, re-used {count.reused}", refresh=False)
            shown.update(count.finished - shown.n)

        yield update
