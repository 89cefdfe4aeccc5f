"""The processor, and those of its instructions on which speed and the last bits of vectors depend."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kline_core.errors import SettingError

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
LEAVE_OUT = "KLINE_LEAVE_OUT"
"""Environment variable that names instructions to do without, separated by commas, so that what is done on other
processors can be measured on this one."""
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor as its system describes it."""

    name: str
    instructions: tuple[str, ...] | None
    """Those of `INSTRUCTIONS` that it has; None where the system does not tell."""

    def __str__(self) -> str:
        """The processor in a line of text."""
        if self.instructions is None:
            return f"{self.name} (instructions unknown)"
        return f"{self.name} ({', '.join(self.instructions) or 'no wide instructions'})"


@cache
def processor() -> Processor:
    """The processor of this machine. Imports no torch, whose own answer would take seconds."""
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return Processor(platform.processor() or platform.machine() or "unknown", None)
    return described(text)


def left_out() -> frozenset[str]:
    """Those of `INSTRUCTIONS` that `LEAVE_OUT` names. Raises `SettingError` for others."""
    named = frozenset(name.strip() for name in os.environ.get(LEAVE_OUT, "").split(",") if name.strip())
    if unknown := sorted(named.difference(INSTRUCTIONS)):
        bound = f"some of {', '.join(INSTRUCTIONS)}"
        text = f"{LEAVE_OUT} names {unknown[0]!r}; give {bound}, separated by commas, or unset it"
        raise SettingError(text, parameter=LEAVE_OUT, value=unknown[0], bound=bound)
    return named


def described(cpuinfo: str) -> Processor:
    """The processor that a text in the form of `/proc/cpuinfo` describes."""
    facts: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip().lower(), value.strip())
    named = facts.get("model name") or platform.machine() or "unknown"
    told = facts.get("flags") or facts.get("features")
    if told is None:
        return Processor(named, None)
    has = set(told.lower().split())
    return Processor(named, tuple(name for name in INSTRUCTIONS if name in has))
