"""How much of a flow run that was cut off is stored: the values of the run of the library that its process began."""

from datetime import datetime

from prefect.client.schemas.objects import FlowRun

from kline_core._logging import one_line
from kline_core.errors import KlineError
from kline_core.store.folder import home_folder, home_uri
from kline_core.store.home import Home
from kline_core.store.run_records import records_since
from kline_core.store.schemas import FAILED
from kline_core.store.table import of_run


def stored_values(run: FlowRun, home: str, began: datetime, more: bool) -> str:
    """What is stored of a flow run that is under way, as a sentence.

    Args:
        run: The flow run.
        home: Home of runs that name none.
        began: Moment at which its last process began.
        more: Whether values of an earlier process of it may be stored beside.
    """
    try:
        uri = home_uri(run.parameters.get("home") or home)
        # An object store that does not answer would be waited for.
        if home_folder(uri) is None or not _process(run):
            return "What was finished is stored"
        count = _count(run, Home(uri), began)
    except KlineError as error:
        return f"What was finished is stored, but cannot be counted: {one_line(error).rstrip('.')}"
    values = "value of it is" if count == 1 else "values of it are"
    return f"{count or 'No'}{' more' if more else ''} {values} stored"


def _process(run: FlowRun) -> int | None:
    number = (run.infrastructure_pid or "").rpartition(":")[2]
    return int(number) if number.isdigit() else None


def _count(run: FlowRun, home: Home, began: datetime) -> int:
    records = records_since(home, began)
    record = next((record for record in records if record.process.pid == _process(run)), None)
    if record is None:
        return 0
    status = home.read("factors", ["status"], fingerprint=record.stored_under, where=of_run(record.run_id))["status"]
    return sum(each != FAILED for each in status.to_pylist())
