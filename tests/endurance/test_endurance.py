"""Twelve days of what `python -m tests.endurance` does for hundreds."""

import threading

import pytest

from flows.local_stack.warm_cluster import measured_seldom
from kline_core.maintenance import upkeep
from kline_core.store.checksums import CHECKED
from tests.endurance.measured import Processes, files_of
from tests.endurance.story import Story
from tests.support.processes import scheduler_process

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

DAYS, KEEP_DAYS = 12, 7
HANDLES = 4
"""File handles that may come and go, such as of a connection that is just closing."""
THREADS = 100
"""Threads of Delta's own pool come with the files that it reads at once, and go after some seconds."""


@pytest.mark.long
def test_after_days_of_work_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "MANY_FILES", 4)
    with scheduler_process(tmp_path, **measured_seldom()) as (address, scheduler):
        processes = Processes.of(scheduler.pid)
        story = Story(tmp_path, address, days=DAYS, symbols=4, keep_days=KEEP_DAYS, samples=10)
        story.day()
        before, python = processes.measured(), threading.active_count()
        for _ in range(1, DAYS):
            story.day()
        story.maintain()
        after = processes.measured()
    for name in ("client", "worker", "scheduler"):
        assert after[f"{name} handles"] <= before[f"{name} handles"] + HANDLES, (before, after)
        assert after[f"{name} threads"] <= before[f"{name} threads"] + THREADS, (before, after)
    assert threading.active_count() <= python + 1
    files = files_of(story.home.folder)
    # The first run, before day 1, and those of days 1 to 4 are no longer kept.
    assert files["records files"] == KEEP_DAYS
    assert files["other files"] == 0
    stored = {name: len(story.home.files(name)) for name in ("bars", "patterns", "factors", "matches")}
    assert max(stored.values()) < 8, stored
    # Of bars and patterns: every data file has its checksum, and none is left of those that went. Each table notes its
    # newest version alone.
    for name in stored:
        kept = {path.name for path in (story.home.folder / name).glob("_checksums/*")}
        data = {path.name for path in (story.home.folder / name).glob("*.parquet")} if name in CHECKED else set()
        notes = {f"{story.home.version(name):020}.version"}
        assert {path.rpartition(".")[0] for path in kept - notes} == data, name
        assert notes <= kept, name
        assert len(kept) == len(data) + 1, name
    assert files["checksums files"] == sum(
        len([*folder.iterdir()]) for folder in story.home.folder.glob("*/_checksums")
    )
