import re
from pathlib import Path

import numpy as np
import pytest

import flows
from flows.local_stack import deployments
from flows.local_stack.deployments import check_project, project_file, project_folder, project_line
from flows.local_stack.up import up
from kline_core.api.data import ingest
from kline_core.bars import sessions
from kline_core.bars.sessions import sessions_until
from kline_core.encoder.synthetic import random_walk
from kline_core.errors import InputError
from kline_core.store.home import Home

GOOD = "deployments:\n  - name: a\n    entrypoint: flow.py:run\n    work_pool: {name: kline}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text("")
    return tmp_path / "prefect.yaml"


def test_the_project_that_comes_along_is_sound() -> None:
    check_project(project_file())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + "  - name: b\n   entrypoint: x\n", r"prefect\.yaml, line 6: it is no YAML \(.*\); mend it"),
        ("a: [1,\n", r"line 2: it is no YAML"),
        ("a: *b\n", r"line 1: it is no YAML \(found undefined alias"),
        ("a: !!python/object/apply:os.mkdir [x]\n", "line 1: it is no YAML .*could not determine a constructor"),
        ("a: \x00\n", "it is no YAML"),
        ("", "it has no list of deployments"),
        ("- a\n", "it has no list of deployments"),
        ("deployments: []\n", "it has no list of deployments"),
        ("deployments: {a: 1}\n", "it has no list of deployments"),
        (GOOD + "  - 3\n", "deployment 2 of 2 has no name"),
        (GOOD + "  - name: b\n", "deployment 2 of 2 has no entrypoint"),
        (GOOD + "  - {name: 5, entrypoint: flow.py:run}\n", "deployment 2 of 2 has no name, or none that is text"),
        (GOOD + "  - {name: b, entrypoint: 'flow.py:run'}\n", "deployment b names no work pool, such as kline"),
        (GOOD + "  - {name: b, entrypoint: flow.py}\n", "entrypoint of deployment b is 'flow.py', no FILE:FUNCTION"),
        (GOOD + "  - {name: b, entrypoint: 'gone.py:run'}\n", "is 'gone.py:run', no FILE:FUNCTION that is there"),
    ],
)
def test_a_project_that_cannot_be_deployed_is_refused_with_file_and_line(project: Path, text: str, named: str) -> None:
    project.write_text(text)
    with pytest.raises(InputError, match=named) as refused:
        check_project(project)
    assert refused.value.source == str(project)
    assert len(str(refused.value).splitlines()) == 1
    assert not (project.parent / "x").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: theirs\n",
        "deployments: []\n",
        # As `prefect init` leaves it.
        "deployments:\n- name: null\n  entrypoint: null\n  work_pool: {name: null}\n",
        "deployments:\n- {name: nightly, entrypoint: 'flows/daily.py:daily', work_pool: {name: theirs}}\n",
        "deployments:\n- {name: nightly, entrypoint: 'etl.py:load'}\n- 3\n",
    ],
)
def test_the_project_of_somebody_else_is_not_taken_and_that_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    project.write_text(text)
    monkeypatch.chdir(project.parent)
    taken = project_file()
    assert taken == Path(flows.__file__).parent / "prefect.yaml"
    assert project_line(taken) == f"{taken}, not {project}, which has no deployment to the work pool kline"
    check_project(taken)


def test_a_project_of_ones_own_is_taken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    assert project_line(project_file()) == str(Path(flows.__file__).parent / "prefect.yaml")
    project.write_text(GOOD + "  - {name: b, entrypoint: 'flow.py:run', work_pool: {name: gpu}}\n")
    assert project_line(project_file()) == str(project) == str(project_file())
    assert project_folder(project) == project.parent
    check_project(project)


def test_a_copy_of_the_project_that_lies_alone_runs_the_flows_that_come_along(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one with another source, or other times."""
    project.write_text(project_file().read_text())
    monkeypatch.chdir(project.parent)
    check_project(project_file())
    assert project_file() == project
    assert project_folder(project) == Path(flows.__file__).parents[1]
    # With flows of its own beside, these are meant.
    project.write_text(project.read_text() + GOOD.removeprefix("deployments:\n"))
    with pytest.raises(InputError, match=r"a-share is 'flows/daily\.py:daily', no FILE"):
        check_project(project)


def test_bytes_that_are_no_text_are_refused(project: Path) -> None:
    project.write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(InputError, match="it is no YAML"):
        check_project(project)


def test_nothing_is_started_or_made_for_a_project_that_cannot_be_deployed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text("a: [1,\n")
    monkeypatch.chdir(project.parent)
    with pytest.raises(InputError, match="line 2"):
        up(str(project.parent / "home"), 4999, 2, print)
    assert not (project.parent / "home").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("calendar", "reason"),
    [
        ("XSHG", r"calendar is XSHG, but \d+\.\d% of the last year's bars lie on days that are no session"),
        ("XNYS", None),
        (None, None),
    ],
)
def test_a_calendar_that_has_ended_still_tells_whose_bars_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calendar: str | None, reason: str | None
) -> None:
    """The schedule of Shanghai stays paused for a home of New York's bars."""
    home = Home(tmp_path / "home", create=True)
    today = np.datetime64("2025-12-31")
    days = sessions_until(today, 250, "XNYS")
    ingest(home, random_walk(2, len(days), seed=1).to_frame().assign(date=list(days) * 2))
    real = sessions.last_known_day
    ends = {"XSHG": today - 3}
    monkeypatch.setattr(deployments, "last_known_day", lambda name: ends.get(name) or real(name))
    monkeypatch.setattr(deployments, "_today", lambda: today)
    found = deployments._of_no_use(home, calendar)
    assert found is None if reason is None else re.match(reason, str(found))


@pytest.mark.slow
def test_past_the_end_of_its_calendar_nobody_knows_how_old_bars_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule stays, and its run says what to do."""
    home = Home(tmp_path / "home", create=True)
    last = sessions.last_known_day("XSHG")
    days = sessions_until(last, 60, "XSHG")
    ingest(home, random_walk(2, len(days), seed=1).to_frame().assign(date=list(days) * 2))
    monkeypatch.setattr(deployments, "_today", lambda: last + 40)
    assert deployments._of_no_use(home, "XSHG") is None


@pytest.mark.slow
@pytest.mark.parametrize("value", ["!!bool x", "!!int ''", "!!float ''", "!!timestamp x", "!!map [a]", "[" * 1_000])
def test_values_that_their_tag_does_not_fit_are_no_yaml(project: Path, value: str) -> None:
    project.write_text(f"{GOOD}a: {value}\n")
    with pytest.raises(InputError, match=r"prefect\.yaml.*: it is no YAML \(.+\); mend it"):
        check_project(project)


def test_an_entry_point_that_no_file_can_have_is_not_there(project: Path) -> None:
    for name in ("x" * 5_000, '"\\0', '"\\ud800'):
        project.write_text(GOOD.replace("flow.py", name).replace(":run", ':run"' if name.startswith('"') else ":run"))
        with pytest.raises(InputError, match="no FILE:FUNCTION that is there"):
            check_project(project)
