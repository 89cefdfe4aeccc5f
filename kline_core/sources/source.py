"""What a live source is: the vendor's own client behind one small interface."""

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from kline_core.errors import SourceError

Result = TypeVar("Result")


class Call(Protocol):
    """Runs one request to the vendor when its turn comes, and again after a failure that may pass."""

    def __call__(self, request: Callable[[], Result]) -> Result:
        """What the request returns. Raises `SourceError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many requests a vendor bears."""

    at_once: int
    per_minute: int


class Source(Protocol):
    """One vendor. A new object is made for each fetch; its methods are called by several threads, `close` by one."""

    name: str
    """As it is typed, and as its extra is called: akshare."""
    limits: Limits
    market: str | None
    """Name of the one market that it has bars of; None if of many."""
    indices: Mapping[str, str]
    """Names of the indices whose members it tells, such as csi300, with the vendor's own codes."""
    has_all: bool
    """Whether it tells all symbols that it has."""
    tells_past: bool
    """Whether it tells the members of an index on past days."""

    def check(self) -> None:
        """Raise `SourceError` if its client is not installed or its token is not set. Asks nobody."""

    def members(self, universe: str, day: np.datetime64, call: Call) -> list[str]:
        """Symbols, as the vendor writes them, of an index, or of ``all``, as they are now; `day`: the last session."""

    def past_members(
        self, universe: str, first: np.datetime64, last: np.datetime64, call: Call
    ) -> dict[np.datetime64, list[str]]:
        """Symbols of an index by day, as the vendor told them on days of a range. Only where it `tells_past`."""

    def bars(self, symbol: str, first: np.datetime64, last: np.datetime64, call: Call) -> dict[str, pd.DataFrame]:
        """Frames, in layouts that an ingest knows, with the bars of a canonical symbol, both days included.

        By what tells them apart: the one with the bars is called "", one that only adjusts these by its adjustment.
        None, where the vendor gives no bars.
        """

    def close(self) -> None:
        """End what the source has begun, such as a login."""


def client(module: str, extra: str) -> ModuleType:
    """The vendor's client. Raises `SourceError` if it is not installed, or cannot be imported."""
    # What pandas tells the authors of a client is nothing that its users can change.
    warnings.filterwarnings("ignore", module=rf"{extra}\b")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        remedy = f"pip install '.[{extra}]'"
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        why = "is not installed" if missing else f"cannot be imported ({error})"
        raise SourceError(
            f"source {extra} needs the package {module}, which {why}; {remedy}", source=extra, remedy=remedy
        ) from error


def token(variable: str, source: str, where: str) -> str:
    """A vendor's token from the environment. Raises `SourceError` if it is not set."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise SourceError(
            f"source {source} needs a token: set {variable} to yours ({where})", source=source, remedy=variable
        )
    return value


def compact(day: np.datetime64) -> str:
    """A day as YYYYMMDD."""
    return str(day).replace("-", "")
