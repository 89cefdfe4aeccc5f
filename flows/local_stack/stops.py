"""Which flow runs a stop of `kline up` has ended, for the next start: nothing unforeseen interrupted them."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from flows.local_stack.notes import read_json, write_json
from flows.local_stack.processes import FLOW_RUN

_NOTE: Final = "stopped.json"


def note_stopped(folder: Path, runs: Sequence[psutil.Process]) -> None:
    """Add the flow runs of processes that are about to be ended.

    What cannot be written leaves them as those of a power loss, which go on as well, once.
    """
    ids = stopped_before(folder)
    for each in runs:
        # Ended by itself meanwhile.
        with suppress(psutil.Error, OSError):
            ids |= {each.environ()[FLOW_RUN]}
    # The home itself may be gone, or its disk full.
    with suppress(OSError):
        write_json(folder / _NOTE, {"flow_runs": sorted(ids)})


def stopped_before(folder: Path) -> frozenset[str]:
    """Ids of the flow runs that were ended by stops since the last recovery; none if the note is damaged."""
    found: object = None
    with suppress(OSError):
        found = (read_json(folder / _NOTE) or {}).get("flow_runs")
    return frozenset(each for each in found if isinstance(each, str)) if isinstance(found, list) else frozenset()


def forget_stopped(folder: Path) -> None:
    """Begin anew, once these runs are recovered."""
    (folder / _NOTE).unlink(missing_ok=True)
