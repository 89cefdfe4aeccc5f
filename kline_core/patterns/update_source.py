"""What the last update of `patterns` was made from, which its commits carry."""

from dataclasses import dataclass
from typing import Any

from kline_core.bars.bars_cache import BarsKey
from kline_core.store.home import Home


@dataclass(frozen=True, slots=True)
class UpdateSource:
    """What the last update of `patterns` was made from, as its commits say."""

    bars: int | None
    """Version of `bars`; None if no commit says so."""
    left: int
    """Windows that were still to be added, above 0 if the update was cut off."""
    never: bool
    """Whether there was no update yet."""


def update_source(home: Home, table: str, version: int | None) -> UpdateSource:
    """What a version of a table of patterns was made from; None for a table that was never made.

    Raises what `Home` raises.
    """
    if version is None:
        return UpdateSource(None, 0, never=True)
    for commit in home.history(table):
        if commit["version"] <= version and "bars" in commit["metadata"]:
            return UpdateSource(commit["metadata"]["bars"], commit["metadata"]["left"], never=False)
    return UpdateSource(None, 0, never=False)


def source_metadata(bars: BarsKey, left: int) -> dict[str, Any]:
    """Metadata of a commit, which `update_source` reads; `left`: windows that are still to be added after it."""
    return {"bars": bars.version, "left": left}
