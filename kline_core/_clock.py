"""The clock: the present moment, and seconds by stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter

from kline_core._cores import helped_seconds


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


class StageClock:
    """Seconds of named stages of some work."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block, with what other threads work for it (`spread`); one that raises is not counted."""
        started, helped = perf_counter(), helped_seconds()
        yield
        self.seconds[name] = perf_counter() - started + helped_seconds() - helped

    def finish(self) -> dict[str, float]:
        """Seconds of all stages, and in total by the clock since this was made."""
        return self.seconds | {"total": perf_counter() - self._started}
