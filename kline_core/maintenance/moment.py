"""Versions of the tables that belong together, although others write meanwhile.

Derived tables come first, so that the sources, looked at later, hold all that the derived rows came from. `factors` and
`matches` are taken between two commits of any run, which stores matches first and their values a moment later.
"""

import time
from collections.abc import Iterable
from typing import Any, Final

from kline_core.store.home import Home
from kline_core.store.schemas import kind_of

# Seconds to wait for the values of stored matches.
_PATIENCE = 5.0
_PACE = 0.05
# Milliseconds after which matches without values count as left by a run that was cut off.
_RECENT = 60_000
_COMMITS = 100
_ORDER: Final = ("factors", "matches", "patterns", "members", "bars")


def derived_first(names: Iterable[str]) -> list[str]:
    """Names of tables in the order in which their versions are to be looked at."""
    return sorted(names, key=lambda name: _ORDER.index(kind_of(name)))


def values_with_matches(home: Home) -> dict[str, int | None]:
    """Versions of `factors` and `matches` between two commits of any run; the newest ones if a run was cut off.

    None for a table that was never made. Raises `HomeError`.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        # `factors` first, since a run commits it last.
        factors, matches = home.history("factors", _COMMITS), home.history("matches", _COMMITS)
        if not _unfinished(factors, matches) or time.monotonic() > deadline:
            break
        time.sleep(_PACE)
    return {
        name: commits[0]["version"] if commits else None
        for name, commits in (("factors", factors), ("matches", matches))
    }


def _unfinished(factors: list[dict[str, Any]], matches: list[dict[str, Any]]) -> bool:
    """Whether a run that may be at work has committed matches without their values."""
    stored: dict[str, int] = {}
    for commit in reversed(factors):
        stored[commit["metadata"].get("run_id")] = commit["timestamp"]
    return any(
        commit["timestamp"] > stored.get(commit["metadata"]["run_id"], 0)
        for commit in matches
        if "run_id" in commit["metadata"] and commit["timestamp"] > time.time() * 1000 - _RECENT
    )
