"""Records of runs that were made up."""

from datetime import UTC, datetime

from kline_core._processor import Processor
from kline_core.store.run_records import (
    DONE,
    RecordedCluster,
    RecordedEncoder,
    RecordedProcess,
    RecordedRequest,
    RunRecord,
    TableState,
)

BEGAN = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def record_of(run_id="20260302T093000-0000aa", began=BEGAN, **changes) -> RunRecord:
    values = {
        "run_id": run_id,
        "state": DONE,
        "started": began.isoformat(),
        "package": "0.1.0",
        "method": 1,
        "settings": {"patterns": {}, "factor": {}},
        "fingerprint": "f",
        "encoder": RecordedEncoder(None, "e", "auto"),
        "tables": {"bars": TableState(0, "b", "0"), "patterns": TableState(None, None, None)},
        "request": RecordedRequest(None, 600, None, 0.2, None),
        "symbols": 1,
        "patterns": 0,
        "process": RecordedProcess("elsewhere", 1, 0.0),
        "cluster": RecordedCluster("inproc://", 2, Processor("some", ("avx2",))),
    }
    return RunRecord(**values | changes)
