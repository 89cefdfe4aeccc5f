"""What heals a home, by table and kind of damage: the advice of all commands, each tried in a test."""

from collections.abc import Mapping
from typing import Final

from kline_core.store.schemas import kind_of

INDEX: Final = "run `kline index`"
"""For windows without a pattern, and patterns of windows that bars no longer give."""
REBUILD: Final = "run `kline index --rebuild`"
"""For patterns whose vectors or outcomes are not those of their bars, which no other update looks at."""
RUN: Final = "run `kline run` again on these symbols, which computes them anew"
"""For values and matches that do not belong together, which every run notices."""
ANEW: Final = "run `kline index --rebuild`, then `kline run`"
"""For tables that an earlier method made."""
NEW_BARS: Final = "restore the home from a copy, or ingest all files into a new one"
"""For damaged bars, from which all else is made."""
NEW_VALUES: Final = (
    "restore a copy, or remove the folders `factors` and `matches` of the home and run again, with --as-of of earlier "
    "days too where their samples are wanted"
)
"""For values that no run notices, or that cannot be read."""
NEW_MEMBERS: Final = (
    "restore a copy, or remove the folder `members` of the home and run `kline fetch` again, with --members-since "
    "where the source can tell past members"
)
"""For damaged members, which only their source can tell again."""

_COMMAND: Final = "`kline index"


def with_options(remedy: str, options: str) -> str:
    """A remedy for patterns that were made with some options of `kline index`, which reach no other patterns."""
    return remedy.replace(_COMMAND, f"{_COMMAND} {options}") if options else remedy


UNREADABLE: Final = {
    "bars": NEW_BARS,
    "patterns": f"remove the folder `patterns` of the home and {INDEX}, or restore a copy",
    "factors": NEW_VALUES,
    "matches": NEW_VALUES,
    "members": NEW_MEMBERS,
}
"""For a table that cannot be read."""
DAMAGED_FILE: Final = {
    "bars": "the bars are damaged: restore that file or the home from a copy, or ingest all files into a new home",
    "patterns": "restore that file from a copy, or make the patterns again with `kline index --rebuild`",
    "factors": NEW_VALUES,
    "matches": NEW_VALUES,
    "members": NEW_MEMBERS,
}
"""For one data file that is not what was written."""
SHORTER_LOG: Final = {
    "bars": "ingest the files that came last once more",
    "patterns": INDEX,
    "factors": "run again what ran last",
    "matches": "run again what ran last",
    "members": "run `kline fetch` again",
}
"""What follows where a damaged newest log file is removed, so that the version before is the newest one."""


def remedy_of(remedies: Mapping[str, str], table: str) -> str:
    """The remedy for a table, out of those by its kind."""
    kind = kind_of(table)
    if table == kind:
        return remedies[kind]
    return f"{remedies[kind].replace('`patterns`', f'`{table}`')}, with the settings of that table"
