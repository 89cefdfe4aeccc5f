"""Small files in the folder `prefect` of a home, which one start leaves for the next: written whole, or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def write_whole(file: Path, text: str) -> None:
    """Write a file under another name, have it reach the disk, and rename it. Raises OSError."""
    scratch = file.with_name(f"{file.name}.new")
    with scratch.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(file)


def write_json(file: Path, note: dict[str, Any]) -> None:
    """Write a note as JSON, as `write_whole`."""
    write_whole(file, json.dumps(note) + "\n")


def read_json(file: Path) -> dict[str, Any] | None:
    """What a note says: None if there is none, nothing if it is damaged. Raises OSError if it cannot be read."""
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
