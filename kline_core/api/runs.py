"""Past runs: their records, and one of them computed again."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kline_core.api.data import as_home, shown
from kline_core.errors import HomeError, SettingError
from kline_core.store.home import Home
from kline_core.store.run_records import RunRecord, read_record, read_records, recorded_runs

if TYPE_CHECKING:
    from kline_core.compute.replay_report import ReplayReport
    from kline_core.compute.standing import SchedulerAt


@dataclass(frozen=True, slots=True)
class PastRuns:
    """Records of the newest runs of a home."""

    records: list[RunRecord]
    """Newest first."""
    states: dict[str, str]
    """State of each run by its id, as it is now: see `kline_core.compute.recording.state_of`."""
    unreadable: list[HomeError]
    """What is wrong with records that cannot be read."""
    total: int
    """Number of runs with a record, listed or not."""

    def to_dict(self) -> dict[str, Any]:
        """The records as plain JSON values."""
        runs = [record.to_dict() | {"state": self.states[record.run_id]} for record in self.records]
        return {"runs": runs, "unreadable": [str(error) for error in self.unreadable], "total": self.total}


def past_runs(home: Home | str | Path, last: int | None = 20) -> PastRuns:
    """Records of the `last` runs of a home, newest first; of all if it is None.

    Raises `SettingError` if `last` is below 1, and `HomeError` if the home is missing or cannot be listed.
    """
    from kline_core.compute.recording import state_of

    if last is not None and last < 1:
        raise SettingError(f"last is {last}; it must be at least 1", parameter="last", value=last, bound="at least 1")
    store = as_home(home)
    runs = recorded_runs(store)
    records: list[RunRecord] = []
    unreadable: list[HomeError] = []
    for found in read_records(store, runs[:last]):
        if isinstance(found, HomeError):
            unreadable.append(found)
        else:
            records.append(found)
    # Ids are ordered by the second alone.
    records.sort(key=lambda record: record.began, reverse=True)
    return PastRuns(records, {record.run_id: state_of(record) for record in records}, unreadable, len(runs))


def replay_run(
    home: Home | str | Path,
    run_id: str,
    *,
    encoder: str | Path | None = None,
    scheduler: "SchedulerAt | None" = None,
    shards: int | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> "ReplayReport":
    """Compute a past run again from the versions of the tables that it read, and compare; stores nothing.

    Args:
        home: A home, or the folder or URL of one.
        run_id: Id of the run.
        encoder: Where the run's weights lie now, a folder if it had an encoder for each year; None for where they lay
            then.
        scheduler: Address of a standing Dask cluster, or a `distributed.Client` of one, which stays open; None for a
            threaded one inside this process.
        shards: As for `compute_factor`.
        threads: Threads of a cluster inside this process; None for one per core, at most 16.
        progress: Show a bar on standard error.

    Raises:
        HomeError: There is no record of the run, or a version that it read is gone.
        FingerprintError: The run was made by a version of the package that computes otherwise.
        EncoderError: The weights are not those of the run.
        SchedulerError, SettingError: As for `compute_factor`.
    """
    from kline_core.compute.opening import open_cluster
    from kline_core.compute.replay import replay, replay_keys

    store = as_home(home)
    record = read_record(store, run_id)
    keys = replay_keys(store, record, encoder)
    with open_cluster(scheduler, threads, shards=shards) as cluster, shown(progress, "replay", " symbols") as told:
        return replay(store, cluster, keys, record, told)
