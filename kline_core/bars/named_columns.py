"""Columns named by hand: what a person writes, what is checked of it, and what is kept with a home.

A mapping goes from a meaning (`date`, `close`, ...) to the name of the column that holds it. One that is given is taken
for every file and frame. One that is kept with a home is taken for a file that no layout fits and that has all of its
columns, so that the vendor's next file needs no word.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kline_core.bars.columns import REQUIRED
from kline_core.bars.readers.layout import MEANINGS, KeptColumns
from kline_core.errors import HomeError, SettingError
from kline_core.store.home import Home

NOTE: Final = "columns"
"""Name of the note that holds them (`Home.notes`)."""
_ITEM: Final = re.compile(r'\s*(?P<meaning>[^=,"]*?)\s*=\s*(?:"(?P<quoted>(?:[^"]|"")*)"\s*|(?P<bare>[^,"]*))(?:,|$)')


def parse_columns(texts: Iterable[str]) -> dict[str, str]:
    """Mapping that some texts such as ``date=Datum,close="Schluss, bereinigt"`` say together.

    A name with a comma stands in quotes, a quote in it is doubled. Raises `SettingError`.
    """
    found: dict[str, str] = {}
    for text in texts:
        at = 0
        while at < len(text) or (at == 0 and not text):
            item = _ITEM.match(text, at)
            if item is None or not item["meaning"]:
                raise _refused(
                    text, "it must be like date=Datum,close=Schluss, with a name that has a comma in double quotes"
                )
            name = item["bare"] if item["quoted"] is None else item["quoted"].replace('""', '"')
            if item["meaning"] in found:
                raise _refused(text, f"{item['meaning']} is named twice; name one column for it")
            found[item["meaning"]] = name.strip()
            at = item.end()
    check_columns(found)
    return found


def check_columns(mapping: object) -> None:
    """Raise `SettingError` for what is no mapping from meanings to names of columns, each named once."""
    if not isinstance(mapping, Mapping) or not mapping:
        raise _refused(mapping, "it must map meanings to names of columns, such as {'date': 'Datum'}")
    seen: dict[str, str] = {}
    for meaning, name in mapping.items():
        if meaning not in MEANINGS:
            raise _refused(mapping, f"{meaning!r} is no meaning; known are {', '.join(sorted(MEANINGS))}")
        if not isinstance(name, str) or not name.strip():
            raise _refused(mapping, f"{name!r} is no name of a column, for {meaning}")
        if (other := seen.setdefault(name.strip().lower(), meaning)) != meaning:
            raise _refused(mapping, f"column {name.strip()!r} is named for {other} and for {meaning}; name it once")
        own = name.strip().lower()
        if own in REQUIRED and own not in mapping:
            raise _refused(
                mapping,
                f"column {name.strip()!r} is named for {meaning}, and is that of {own} too; name another for {own}",
            )


def keep_columns(home: Home, mapping: Mapping[str, str] | None) -> None:
    """Keep a checked mapping with a home, in the place of the one before; None forgets it. Raises `HomeError`."""
    home.set_note(NOTE, None if mapping is None else dict(mapping))


def kept_columns(home: Home) -> KeptColumns | None:
    """Mapping that is kept with a home, None if there is none. Raises `HomeError` if somebody else wrote it."""
    held: Any = home.notes().get(NOTE)
    if held is None:
        return None
    try:
        check_columns(held)
    except SettingError as error:
        raise HomeError(
            f"home {home.uri} keeps columns that kline did not write ({error}); remove them with "
            f"`kline notes --forget {NOTE}`",
            home=home.uri,
            table="bars",
        ) from error
    return KeptColumns(held)


def written(mapping: Mapping[str, str]) -> str:
    """A mapping as `parse_columns` reads it."""
    return ",".join(
        f"{meaning}=" + ('"' + name.replace('"', '""') + '"' if re.search('[,"]', name) else name)
        for meaning, name in mapping.items()
    )


def _refused(given: object, why: str) -> SettingError:
    return SettingError(f"columns (--columns) is {given!r:.200}: {why}", parameter="columns", value=given)
