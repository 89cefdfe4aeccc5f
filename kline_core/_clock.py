"""The clock: the present moment, and seconds by stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter


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
        """Time the block; one that raises is not counted."""
        started = perf_counter()
        yield
        self.seconds[name] = perf_counter() - started

    def finish(self) -> dict[str, float]:
        """Seconds of all stages, and in total since the clock was made."""
        return self.seconds | {"total": perf_counter() - self._started}
