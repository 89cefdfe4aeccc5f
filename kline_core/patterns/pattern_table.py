"""Which table of a home holds the patterns of given settings and encoder.

The first patterns of a home stand in the table `patterns`, whatever their settings. Patterns of other settings, or of
another encoder, stand beside it in tables of their own, named by their fingerprint.
"""

from typing import Final

from kline_core.settings import METHOD, PatternSettings, pattern_fingerprint
from kline_core.store.home import Home
from kline_core.store.schemas import other_patterns

FIRST: Final = "patterns"


def pattern_table(home: Home, settings: PatternSettings, encoder: str) -> str:
    """Name of the table that holds the patterns of settings and an encoder (given by its fingerprint).

    If none holds them it is `patterns`, which may be missing or of other settings; see
    `kline_core.patterns.verified.check_patterns`. Raises what `Home` raises.
    """
    own = other_patterns(pattern_fingerprint(settings, encoder))
    return own if home.version(own) is not None else FIRST


def has_patterns(home: Home, settings: PatternSettings, encoder: str) -> bool:
    """Whether a table holds patterns of settings and an encoder (given by its fingerprint).

    Raises what `Home` raises.
    """
    table = pattern_table(home, settings, encoder)
    return home.description(table).get("fingerprint") == pattern_fingerprint(settings, encoder)


def table_to_update(home: Home, settings: PatternSettings, encoder: str) -> str:
    """Name of the table that is to hold the patterns of settings and an encoder; it may be missing yet.

    Beside patterns of other settings it is a table of its own. `patterns` that an earlier method made, or another
    program, are no such ones: they are named, so that they are refused. Raises what `Home` raises.
    """
    table, fingerprint = pattern_table(home, settings, encoder), pattern_fingerprint(settings, encoder)
    made = home.description(FIRST) if table == FIRST else {}
    beside = made.get("method") == METHOD and made.get("fingerprint") not in (None, fingerprint)
    return other_patterns(fingerprint) if beside else table
