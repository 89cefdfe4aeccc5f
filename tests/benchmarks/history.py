"""What was measured of each version: ratios, which may be compared where seconds of two days may not.

    python -m tests.benchmarks --keep      # measures, and keeps all that was found in the folder `history`
    python -m tests.benchmarks.history     # all that was kept, one line each

A file is named by version, day and processor; what is measured again on that day takes its place. `times ours` is how
many times as long another way took in the same run, `times limit` how many times as long ours took as the machine's
own peak in that run allows (`tests.benchmarks.roofline`).
"""

import json
import re
from pathlib import Path
from typing import Any

from kline_core import __version__
from kline_core._code import CODE
from kline_core._text import table
from tests.benchmarks.speed_report import OURS, without

FOLDER = Path(__file__).with_name("history")


def keep(found: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Keep the document of a run (`speed_report.document`) with the version that it was of; returns the file.

    Of the home its name is kept, and no folder of the machine.
    """
    machine = found["machine"]
    seen = " ".join([machine["processor"], *(f"no {name}" for name in machine["left_out"])]).lower()
    place = folder / f"{__version__}-{found['date']}-{re.sub('[^a-z0-9_]+', '-', seen).strip('-')}.json"
    folder.mkdir(exist_ok=True)
    whole = {"version": __version__, "code": CODE} | found | {"home": Path(found["home"]).name}
    place.write_text(json.dumps(whole, indent=2) + "\n")
    return place


def text(folder: Path = FOLDER) -> str:
    """The table of all that was kept, the oldest first; ways that a run left out are empty."""
    kept = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    if not kept:
        return f"nothing was kept in {folder} yet; `python -m tests.benchmarks --keep`"
    kept.sort(key=lambda each: (each["date"], each["version"]))
    ways = list(dict.fromkeys(name for each in kept for name in each["ways"] if name != OURS))
    limits = list(dict.fromkeys(name for each in kept for name in each["roofline"]))
    rows = []
    for each in kept:
        ratios = [each["ways"].get(name, {}).get("times_ours") for name in ways]
        of_limits = [each["roofline"][name][-1]["times_limit"] if name in each["roofline"] else None for name in limits]
        rows.append(
            [
                *(each["version"], each["code"][:8], each["date"]),
                each["machine"]["processor"] + without(each["machine"]["left_out"]),
                *(str(each["facts"][name]) for name in ("samples", "patterns")),
                *(f"{each['elsewhere']:.1f}", f"{each['ways'][OURS]['seconds']['median']:.3f}"),
                *("" if value is None else f"{value:.2f}" for value in [*of_limits, *ratios]),
            ]
        )
    head = ["version", "code", "day", "processor", "samples", "patterns", "cores of others", "ours, s"]
    return table([*head, *(f"times limit: {name}" for name in limits), *(f"times ours: {name}" for name in ways)], rows)


if __name__ == "__main__":
    print(text())
