"""Checks of a home: its tables, what is to be done, past runs, upkeep, and the logs of `kline up`."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from kline_core.errors import HomeError, SettingError
from kline_core.maintenance.checkup import Check, State, table_names
from kline_core.maintenance.upkeep import MANY_FILES, TARGET_BYTES
from kline_core.settings import PatternSettings
from kline_core.store.checksums import CHECKED
from kline_core.store.delta import COMPACTION, NO_ROWS
from kline_core.store.home import Home
from kline_core.store.remedies import INDEX, with_options
from kline_core.store.run_records import DONE, FAILED, RunRecord, read_records, recorded_runs
from kline_core.store.schemas import kind_of

LATELY = 20
"""Newest runs that are looked at."""
MUCH_LOG = 2**30
CONTENT_SECONDS = 3.0
"""Seconds for reading data files; `kline verify` takes as long as they need."""
_COMMITS = 200
_SLACK = timedelta(minutes=5)
_TO_MAKE = {
    "bars": "`kline ingest` brings bars in",
    "patterns": "`kline index` makes them",
    "factors": "`kline run` makes them",
    "matches": "`kline run` makes them",
    "members": "`kline fetch` of an index keeps its members",
}


def check_home(home: Home) -> Iterator[Check]:
    """Everything about a home. A table that cannot be read is a problem of its own, and the rest is still looked at.

    Data files must be there in the sizes that the log says, those with a checksum with its contents, as far as there is
    time.
    """
    commits: dict[str, list[dict[str, Any]]] = {}
    whole = []
    for name in table_names(home):
        try:
            if name == "members" and home.version(name) is None:
                # Only who fetches an index has it.
                continue
            commits[name] = home.history(name, _COMMITS)
            yield from _check_table(home, name, commits[name])
            whole.append(name)
        except HomeError as error:
            yield Check(name, "problem", str(error))
    yield from _check_runs(home, commits)
    yield _check_upkeep(commits)
    yield from _check_logs(home)
    yield from _check_contents(home, whole)


def _check_table(home: Home, name: str, commits: list[dict[str, Any]]) -> Iterator[Check]:
    version = home.version(name)
    files = {} if version is None else home.files(name, version)
    if version is None or not files:
        yield Check(name, "note", f"empty; {with_options(_TO_MAKE[kind_of(name)], _options(home, name))}")
        return
    newest = _when(commits[0])
    text = f"version {version} of {newest:%Y-%m-%d %H:%M} UTC, {len(files)} files, {sum(files.values()) / 1e6:.1f} MB"
    small = sum(size < TARGET_BYTES for size in files.values())
    home.check_sizes(name, version)
    if newest > datetime.now(UTC) + _SLACK:
        yield Check(name, "problem", f"{text}: that is in the future; set the clock of the machine that is wrong")
    elif small >= 4 * MANY_FILES:
        yield Check(name, "note", f"{text}, {small} of them small; the flow `maintain` joins them")
    else:
        yield Check(name, "ok", text)


def _check_runs(home: Home, commits: dict[str, list[dict[str, Any]]]) -> Iterator[Check]:
    runs = recorded_runs(home)
    records: list[RunRecord] = []
    for found in read_records(home, runs[:LATELY]):
        if isinstance(found, HomeError):
            yield Check("runs", "problem", str(found))
        else:
            records.append(found)
    ended = [record for record in records if record.state in (DONE, FAILED)]
    if not ended:
        yield Check("runs", "note", f"{len(runs)} recorded, none of the newest ended; `kline run` computes values")
        return
    last = max(ended, key=lambda record: record.began)
    failed = f", which failed: {last.problem}" if last.state == FAILED else ""
    state: Any = "note" if failed else "ok"
    yield Check("runs", state, f"{len(runs)} recorded; the last to end is {last.run_id}{failed}")
    if (later := sum(record.began > last.began for record in records)) > 0:
        text = f"{later} runs began after it and did not end; `kline runs` says whether they are at work or cut off"
        yield Check("runs", "note", text)
    yield _check_pending(home, last, commits)


def _options(home: Home, name: str) -> str:
    """Options of `kline index` that reach a table of patterns; none where its description tells none."""
    try:
        made = home.description(name) if kind_of(name) == "patterns" else {}
        return PatternSettings.from_dict(made["settings"]).options
    except (HomeError, KeyError, TypeError, SettingError):
        return ""


def _check_pending(home: Home, last: RunRecord, commits: dict[str, list[dict[str, Any]]]) -> Check:
    """Whether the last run read the newest rows of bars and patterns."""
    changed = {}
    for name in ("bars", "patterns"):
        table = last.table_of(name)
        rows = [commit for commit in commits.get(table, []) if commit["operation"] not in NO_ROWS]
        if rows and rows[0]["version"] > (last.tables[name].version or 0):
            changed[name] = _when(rows[0])
    if not changed:
        return Check("pending", "ok", "nothing: the last run read the newest bars and patterns")
    if "bars" in changed and changed["bars"] > changed.get("patterns", last.began):
        index = with_options(INDEX, _options(home, last.table_of("patterns")))
        return Check("pending", "note", f"bars have changed since the last run; {index}, then `kline run`")
    return Check("pending", "note", f"{' and '.join(changed)} have changed since the last run; run `kline run`")


def _check_upkeep(commits: dict[str, list[dict[str, Any]]]) -> Check:
    moments = [_when(each) for some in commits.values() for each in some if each["operation"] == COMPACTION]
    if moments:
        return Check("upkeep", "ok", f"files were last joined on {max(moments):%Y-%m-%d}")
    return Check("upkeep", "ok", "files have not been joined lately; the flow `maintain` does it where there are many")


def _check_logs(home: Home) -> Iterator[Check]:
    if home.folder is None or not (home.folder / "prefect").is_dir():
        return
    logs = sorted((home.folder / "prefect" / "logs").glob("*.log"))
    size = sum(log.stat().st_size for log in logs)
    text = f"{len(logs)} files, {size / 1e6:.1f} MB in {home.folder / 'prefect' / 'logs'}"
    if size > MUCH_LOG:
        yield Check("logs", "note", f"{text}; delete them while `kline up` does not run")
    else:
        yield Check("logs", "ok", text)


def _when(commit: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)


def _check_contents(home: Home, names: list[str]) -> Iterator[Check]:
    """What is known of the contents of data files: of an object store nothing, since each look would be paid for."""
    deadline = time.monotonic() + CONTENT_SECONDS
    as_written, left = [], []
    state: State = "ok"
    for name in names:
        version = home.version(name)
        files = {} if version is None else home.files(name, version)
        if version is None or not files:
            continue
        try:
            unread = list(files) if home.folder is None else home.check_contents(name, version, deadline)
        except HomeError as error:
            yield Check(name, "problem", str(error))
            continue
        if not unread:
            as_written.append(name)
            continue
        left.append(name if len(unread) == len(files) else f"{len(unread)} of {len(files)} files of {name}")
        if kind_of(name) in CHECKED:
            state = "note"
    parts = [f"{' and '.join(as_written)} as written"] if as_written else []
    if left:
        parts.append(f"not looked at: {', '.join(left)}; `kline verify` does")
    if parts:
        yield Check("contents", state, "; ".join(parts))
