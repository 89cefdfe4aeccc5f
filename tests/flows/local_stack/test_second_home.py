"""What comes along with a copy of a home, without a server."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.local_stack import second_home
from flows.local_stack.second_home import DATABASE, Original, came_along, keep_place, original_of, pause_copied
from kline_core.api.backup import back_up
from kline_core.maintenance.backup import PLACE_NOTE
from tests.support.homes import make_home, market

UI = "http://127.0.0.1:4200"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home for which `kline up` has worked."""
    folder = tmp_path / "home"
    (folder / "prefect").mkdir(parents=True)
    (folder / "prefect" / DATABASE).touch()
    keep_place(folder, folder / "prefect", {})
    return folder


def found(home: Path, **env: str) -> Original | None:
    return original_of(home, home / "prefect", env, lambda line: pytest.fail(line))


def test_a_home_in_its_own_place_is_no_copy(home: Path, tmp_path: Path) -> None:
    assert found(home) is None
    (tmp_path / "new" / "prefect").mkdir(parents=True)
    assert found(tmp_path / "new") is None


def test_a_copy_beside_its_original_and_one_that_stands_in_for_it(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    assert found(copy) == Original(home, there=True)
    # With a database elsewhere nothing has come along.
    assert found(copy, PREFECT_API_DATABASE_CONNECTION_URL="postgresql+asyncpg://x/y") is None
    # Nor is it known from then on for one of its own.
    keep_place(copy, copy / "prefect", {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://x/y"})
    assert found(copy) == Original(home, there=True)
    keep_place(copy, copy / "prefect", {})
    assert found(copy) is None
    moved = home.rename(tmp_path / "moved")
    assert found(moved) == Original(home, there=False)
    # The old path still leads here.
    home.symlink_to(moved)
    assert found(moved) is None


@pytest.mark.parametrize(
    "note", ["", "{}", "null", "[]", "\xff", '{"home": 5, "backup": true}', '{"home": "a\\u0000b", "backup": true}']
)
def test_a_damaged_note_is_said_and_stops_nothing(home: Path, note: str) -> None:
    (home / "prefect" / PLACE_NOTE).write_bytes(note.encode("latin-1"))
    said: list[str] = []
    assert original_of(home, home / "prefect", {}, said.append) is None
    assert len(said) == 1
    assert f"{PLACE_NOTE} is damaged" in said[0]


def test_the_same_folder_under_another_name_is_no_copy(home: Path, tmp_path: Path) -> None:
    # As through a second mount, whose paths no name tells.
    other = tmp_path / "other" / "prefect"
    other.mkdir(parents=True)
    (other / DATABASE).hardlink_to(home / "prefect" / DATABASE)
    shutil.copy(home / "prefect" / PLACE_NOTE, other)
    assert found(other.parent) is None


def test_an_original_that_may_not_be_looked_at_may_be_there(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    look = Path.is_file

    def refused(path: Path) -> bool:
        if path.is_relative_to(home):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(Path, "is_file", refused)
    assert found(copy) == Original(home, there=True)


def test_a_backup_is_known_as_one_even_where_it_is_restored_to_its_own_place(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", market(1, 30))
    (tmp_path / "home" / "prefect").mkdir()
    (tmp_path / "home" / "prefect" / DATABASE).touch()
    assert back_up(home, tmp_path / "backup").database
    assert found(tmp_path / "backup") == Original(tmp_path / "home", there=True)
    shutil.rmtree(tmp_path / "home")
    assert found(tmp_path / "backup") == Original(tmp_path / "home", there=False)
    (tmp_path / "backup").rename(tmp_path / "home")
    assert found(tmp_path / "home") == Original(tmp_path / "home", there=False)
    keep_place(tmp_path / "home", tmp_path / "home" / "prefect", {})
    assert found(tmp_path / "home") is None


class Client:
    """A server with two schedules, one of them paused, and two automations, one of them paused."""

    def __init__(self) -> None:
        self.schedules = [SimpleNamespace(id=uuid4(), active=active) for active in (True, False)]
        self.automations = [SimpleNamespace(id=uuid4(), enabled=enabled) for enabled in (True, False)]

        kinds = [(True, 0), (True, 1), (False, 0)]
        self.runs = [SimpleNamespace(id=uuid4(), auto_scheduled=auto, run_count=count) for auto, count in kinds]

    def read_flow_runs(self, offset: int, limit: int, **_: Any) -> list[SimpleNamespace]:
        return self.runs[offset : offset + limit]

    def delete_flow_run(self, run: UUID) -> None:
        self.runs = [each for each in self.runs if each.id != run]

    def read_automations(self, limit: int, offset: int) -> list[SimpleNamespace]:
        return self.automations[offset : offset + limit]

    def pause_automation(self, automation: UUID) -> None:
        next(each for each in self.automations if each.id == automation).enabled = False

    def update_deployment_schedule(self, _: UUID, schedule: UUID, active: bool) -> None:
        next(each for each in self.schedules if each.id == schedule).active = active


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Client()
    deployment = SimpleNamespace(id=uuid4(), paused=False, schedules=made.schedules)
    monkeypatch.setattr(second_home, "all_deployments", lambda _: [deployment])
    return made


def test_all_that_came_along_is_paused_and_said(client: Any, tmp_path: Path) -> None:
    (line,) = pause_copied(client, Original(tmp_path, there=True), UI)
    assert line.startswith(
        f"this home comes from {tmp_path}, which is still there: 1 schedule and 1 automation for mess"
    )
    assert f"resume them on {UI}/deployments, and messages on {UI}/automations" in line
    assert not any(each.active for each in client.schedules)
    assert not any(each.enabled for each in client.automations)
    # Those that somebody asked for, or that are to go on, stay.
    assert [(each.auto_scheduled, each.run_count) for each in client.runs] == [(True, 1), (False, 0)]
    assert pause_copied(client, Original(tmp_path, there=True), UI) == []


def test_what_goes_on_is_said(client: Any, tmp_path: Path) -> None:
    (line,) = came_along(client, Original(tmp_path, there=False), UI)
    assert "1 schedule and 1 automation for messages that came along are ACTIVE" in line
    assert any(each.active for each in client.schedules)
    client.schedules.clear()
    client.automations.clear()
    assert came_along(client, Original(tmp_path, there=False), UI) == []
