"""A way of working in a process of its own, so that no other way's limits and settings of the libraries reach it."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

_here: list[Any] = []
"""In the other process: the one object."""


class Away:
    """An object that lives in a process of its own, started afresh; it works only while it is asked."""

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"))
        self._process.submit(_begin, make, arguments).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.submit(_end).result()
        self._process.shutdown()

    def ask(self, method: str, *arguments: object) -> Any:
        """What a method of the object answers; raises what it raises."""
        return self._process.submit(_ask, method, arguments).result()


def _begin(make: Callable[..., object], arguments: tuple[object, ...]) -> None:
    _here.append(make(*arguments))


def _ask(method: str, arguments: tuple[object, ...]) -> Any:
    return getattr(_here[0], method)(*arguments)


def _end() -> None:
    _here.pop().close()
