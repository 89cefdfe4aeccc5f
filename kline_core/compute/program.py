"""What computes: the code of a process and the versions of its numeric libraries.

Every call carries the client's `Program` to the worker, which compares it with its own before it computes, so that no
value is stored that other code made. It is no part of a fingerprint: values stay usable after an upgrade that changes
none.
"""

import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Self

from kline_core import __version__, _code
from kline_core._logging import logger
from kline_core.errors import SchedulerError

_LIBRARIES: Final = {"numpy": "numpy", "torch": "torch", "faiss": "faiss-cpu"}
"""Libraries whose releases may round differently: module and distribution."""
_LATE: Final = ("factor.scoring", "factor.explain", "factor.shard", "patterns.encode")
"""Modules that tasks import when they are called: with what these import, all that makes values but the network of the
encoder, which is loaded with the first window that is encoded."""
_LOG = logger(__name__)


class ProgramError(SchedulerError):
    """A worker runs other code than the client, or a process other code than lies on its disk."""


@dataclass(frozen=True, slots=True)
class Program:
    """What computes in a process."""

    version: str
    """Version of the package."""
    code: str
    """Hash of the code that makes values."""
    libraries: tuple[tuple[str, str], ...]
    """Name and version of each numeric library that is installed."""

    @classmethod
    def of_client(cls) -> Self:
        """What this process asks workers to be. Raises `ProgramError` if its code was replaced since it began."""
        _check_unchanged()
        return cls(__version__, _code.CODE, _libraries())

    def check(self, address: str) -> None:
        """On the worker at `address`: compare its own program with this one, the client's.

        Raises `ProgramError` if the code differs, and warns of other libraries.
        """
        if self.code != _code.CODE:
            raise ProgramError(
                f"the worker at {address} runs other code (version {__version__}, code {_code.CODE}) than this process "
                f"(version {self.version}, code {self.code}), so it computed nothing; install the same version on "
                "both, start the workers again and run again",
                address=address,
            )
        _check_loaded(address)
        here = dict(_libraries())
        other = [
            f"{name} {here[name]} (here {there})" for name, there in self.libraries if here.get(name, there) != there
        ]
        if other:
            _LOG.warning(
                "the worker at %s has %s; values may differ in their last digits, so install the same versions",
                address,
                ", ".join(other),
            )


@lru_cache(maxsize=256)
def check_once(program: Program, address: str, client: str | None) -> None:  # noqa: ARG001  part of the cache's key
    """`Program.check`, once for each client. Raises as that does, each time."""
    program.check(address)


@cache
def _check_unchanged(address: str | None = None, modules: int = 0) -> None:  # noqa: ARG001  part of the cache's key
    """Raise `ProgramError` if the modules on the disk are not those that this process began with."""
    found = _code.code_hash()
    if found != _code.CODE:
        who, again = ("this process", "it") if address is None else (f"the worker at {address}", "the worker")
        raise ProgramError(
            f"the package was replaced after {who} had begun (code {_code.CODE} then, {found} now), so what is loaded "
            f"may be of both; start {again} again and run again",
            address=address,
        )


@cache
def _check_loaded(address: str) -> None:
    """Load all modules that make values, and check that none of them was replaced before it was loaded."""
    for name in _LATE:
        import_module(f"kline_core.{name}")
    _check_unchanged(address, _modules_loaded())


def check_loaded_since(address: str) -> None:
    """After a call: compare the code again if the call loaded modules of the package.

    Raises `ProgramError` if these may be of another program than what was loaded before.
    """
    _check_unchanged(address, _modules_loaded())


def _modules_loaded() -> int:
    return sum(name.startswith("kline_core.") for name in tuple(sys.modules))


@cache
def _libraries() -> tuple[tuple[str, str], ...]:
    found = []
    for name, distribution in _LIBRARIES.items():
        module = sys.modules.get(name)
        try:
            found.append((name, str(version(distribution) if module is None else module.__version__)))
        except PackageNotFoundError:
            continue
    return tuple(found)
