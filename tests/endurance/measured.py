"""What may grow in hundreds of days: memory, file handles and threads of the processes, files and bytes of the home."""

import gc
from dataclasses import dataclass
from pathlib import Path

import psutil

from kline_core.store.schemas import TABLES
from tests.support.processes import workers_of

KINDS = ("data", "log", "checksums", "records", "other")


@dataclass(frozen=True)
class Processes:
    """This process and those of a standing cluster."""

    client: psutil.Process
    worker: psutil.Process
    scheduler: psutil.Process

    @classmethod
    def of(cls, scheduler: int) -> "Processes":
        """This process, the scheduler of that id, and its worker."""
        (worker,) = workers_of(scheduler)
        return cls(psutil.Process(), worker, psutil.Process(scheduler))

    def measured(self) -> dict[str, float]:
        """Memory (MB), file handles and threads."""
        gc.collect()
        found: dict[str, float] = {}
        for name, process in vars(self).items():
            found[f"{name} MB"] = process.memory_info().rss / 1e6
            found[f"{name} handles"] = process.num_fds()
            found[f"{name} threads"] = process.num_threads()
        return found


def kind_of(path: Path) -> str:
    """What a file of a home is: log, checksum, record, or data of a table; `other` for what nothing should leave."""
    if "_delta_log" in path.parts:
        return "log"
    if "_checksums" in path.parts:
        return "checksums"
    if path.parts[0] == "runs" and path.suffix == ".json":
        return "records"
    if path.parts[0] in TABLES and path.suffix == ".parquet":
        return "data"
    return "other"


def files_of(home: Path) -> dict[str, float]:
    """Files of a home by kind, and MB of all and of the log."""
    counts: dict[str, float] = {f"{kind} files": 0 for kind in KINDS}
    size = log = 0
    for path in home.rglob("*"):
        if path.is_file():
            kind, bytes_ = kind_of(path.relative_to(home)), path.stat().st_size
            counts[f"{kind} files"] += 1
            size += bytes_
            log += bytes_ if kind == "log" else 0
    return counts | {"home MB": size / 1e6, "log MB": log / 1e6}
