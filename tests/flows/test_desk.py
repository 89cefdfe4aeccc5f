"""A desk's day, as a person sees it: `kline up`, pages in a real browser, a schedule, a run by hand, a cancellation.

With KLINE_SCREENSHOTS naming a folder, what the browser saw is kept there.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kline_core.encoder import Encoder
from kline_core.encoding import LocalEncoding
from kline_core.extend import extend_patterns
from kline_core.ingest import ingest
from kline_core.settings import Settings
from kline_core.synthetic import random_walk
from kline_core.tables import Home
from tests.flows.conftest import ROOT, Server, poll
from tests.postgres import free_port

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

SYMBOLS, BARS = 24, 300
MORE = """
  - name: soon
    entrypoint: flows/daily.py:daily
    work_pool: *kline
    schedules: [{cron: "* * * * *", timezone: Asia/Shanghai}]
    parameters: {symbols: "S00000,S00001"}
  - name: slow
    entrypoint: slow.py:daily
    work_pool: *kline
"""


@dataclass
class Desk:
    """`kline up` of a home, and a browser."""

    server: Server
    home: Path
    clone: Path
    process: subprocess.Popen[str]
    browser: Browser
    pictures: Path
    hosts: set[str]

    def page(self, path: str) -> Page:
        page = self.browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2].split(":")[0]))
        page.goto(self.server.url.removesuffix("/api") + path)
        return page

    def keep(self, page: Page, name: str) -> None:
        page.screenshot(path=self.pictures / f"{name}.png")
        page.close()

    def prefect(self, *arguments: str) -> str:
        done = subprocess.run(
            ["prefect", *arguments], cwd=self.home, env=self.server.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, deployment: str) -> str:
        said = self.prefect("deployment", "run", f"daily/{deployment}")
        found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)
        assert found, said
        return found[0]

    def ended(self, flow_run: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            run: dict[str, Any] = self.server.get(f"flow_runs/{flow_run}")
            return run if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        return poll(found, f"end of flow run {flow_run}")

    def artifact(self, flow_run: str, key: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            there = self.server.post("artifacts/filter", flow_runs={"id": {"any_": [flow_run]}})
            return next((each for each in there if each["key"] == key), None)

        answer: dict[str, Any] = poll(found, f"artifact {key}")
        return answer


@contextmanager
def kline_up(home: Path, clone: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`kline up` until the end of the block, where it is told to stop and must leave nothing behind."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KLINE_", "DASK_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    command = ["kline", "--home", str(home), "up", "--port", str(free_port()), "--json"]
    with (home.parent / "up.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=clone, env=env, text=True)
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line, (home.parent / "up.log").read_text()
            family = psutil.Process(running.pid).children(recursive=True)
            yield running, json.loads(line)
            family += psutil.Process(running.pid).children(recursive=True)
        finally:
            running.send_signal(signal.SIGTERM)
            code = running.wait(60)
            if running.stdout is not None:
                running.stdout.close()
        assert code == 0
        assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clone that deploys two flows more, and a home with bars and patterns."""
    place = tmp_path_factory.mktemp("desk")
    clone = place / "clone"
    shutil.copytree(ROOT / "flows", clone / "flows", symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + MORE)
    shutil.copy(Path(__file__).with_name("slow.py"), clone)
    frame = random_walk(SYMBOLS, BARS + 1, seed=1).to_frame(prefix="S")
    last = frame["date"].max()
    frame[frame["date"] < last].to_csv(place / "history.csv", index=False)
    frame[frame["date"] == last].to_csv(place / "day.csv", index=False)
    home = Home(place / "home", create=True)
    ingest([place / "history.csv"], home)
    extend_patterns(home, Settings().patterns, LocalEncoding(Encoder.load()))
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=[*options, "--no-first-run"])
        yield running
        running.close()


@contextmanager
def opened(place: Path, browser: Browser) -> Iterator[Desk]:
    pictures = Path(os.environ.get("KLINE_SCREENSHOTS") or place)
    pictures.mkdir(exist_ok=True)
    with kline_up(place / "home", place / "clone") as (process, said):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KLINE_"))}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        server = Server(said["api"], env | {"PREFECT_API_URL": said["api"]}, place)
        yield Desk(server, place / "home", place / "clone", process, browser, pictures, set())


def test_a_day_at_the_desk(place: Path, browser: Browser) -> None:
    with opened(place, browser) as desk:
        the_deployments_are_there(desk)
        a_scheduled_run_comes_by_itself(desk)
        finished = a_run_by_hand_shows_its_progress_and_what_came_of_it(desk)
        a_run_is_cancelled_half_way(desk)
        assert desk.hosts == {"127.0.0.1"}
    # Stopped and started between two sessions of bars.
    ingest([place / "day.csv"], Home(place / "home"))
    with opened(place, browser) as desk:
        assert desk.server.get(f"flow_runs/{finished}")["state_type"] == "COMPLETED"
        only_the_new_session_is_computed(desk)


def the_deployments_are_there(desk: Desk) -> None:
    page = desk.page("/deployments")
    for name in ("a-share", "us", "soon"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    desk.keep(page, "deployments")


def a_scheduled_run_comes_by_itself(desk: Desk) -> None:
    soon = desk.server.get("deployments/name/daily/soon")

    def begun() -> dict[str, Any] | None:
        runs = desk.server.post("flow_runs/filter", deployments={"id": {"any_": [soon["id"]]}})
        return next((run for run in runs if run["auto_scheduled"] and run["state_type"] != "SCHEDULED"), None)

    run = poll(begun, "run that is due")
    # One is enough.
    desk.server.delete(f"deployments/{soon['id']}/schedules/{soon['schedules'][0]['id']}")
    ended = desk.ended(run["id"])
    assert ended["state_type"] == "COMPLETED", ended["state"]
    assert ended["name"] == "S00000,S00001"


def a_run_by_hand_shows_its_progress_and_what_came_of_it(desk: Desk) -> str:
    form = desk.page(f"/deployments/deployment/{desk.server.get('deployments/name/daily/slow')['id']}/run")
    expect(form.get_by_text("Share of samples that may be without a value, 0 to 1")).to_be_visible()
    desk.keep(form, "form")
    run = desk.start("slow")
    progress = desk.artifact(run, "daily-progress")
    page = desk.page(f"/artifacts/artifact/{progress['id']}")
    seen: list[float] = []

    def moves() -> bool:
        seen.append(float(desk.artifact(run, "daily-progress")["data"]))
        return len({share for share in seen if 0 < share < 100}) >= 2

    poll(moves, "progress that moves")
    assert seen == sorted(seen)
    page.reload()
    expect(page.get_by_text(re.compile(r"^\d+ of \d+ samples = \d+ done"))).to_be_visible()
    desk.keep(page, "progress")

    ended = desk.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    page = desk.page(f"/artifacts/artifact/{desk.artifact(run, 'daily-summary')['id']}")
    expect(page.get_by_role("heading", name=ended["state"]["message"])).to_be_visible()
    desk.keep(page, "summary")
    page = desk.page(f"/artifacts/artifact/{desk.artifact(run, 'daily-ranking')['id']}")
    expect(page.get_by_text("mean outcome").first).to_be_visible()
    desk.keep(page, "ranking")
    for key in ("daily-values", "daily-matches"):
        page = desk.page(f"/artifacts/artifact/{desk.artifact(run, key)['id']}")
        picture = page.locator("img[src^='data:image/png']")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") > 300
        desk.keep(page, key)
    page = desk.page(f"/runs/flow-run/{run}")
    expect(page.get_by_text("all symbols").first).to_be_visible()
    expect(page.get_by_text("Finished in state Completed").first).to_be_attached()
    desk.keep(page, "run")
    return run


def a_run_is_cancelled_half_way(desk: Desk) -> None:
    before = Home(desk.home).read("factors").num_rows
    run = desk.start("slow")
    poll(lambda: float(desk.artifact(run, "daily-progress")["data"]) > 0, "progress")
    page = desk.page(f"/runs/flow-run/{run}")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    desk.prefect("flow-run", "cancel", run)
    ended = desk.ended(run)
    assert ended["state_type"] == "CANCELLED", ended["state"]
    expect(page.get_by_text("Cancelled").first).to_be_visible()
    desk.keep(page, "cancelled")
    assert Home(desk.home).read("factors").num_rows == before


def only_the_new_session_is_computed(desk: Desk) -> None:
    manual = desk.server.get("deployments/name/daily/manual")["id"]
    run = desk.ended(desk.server.post(f"deployments/{manual}/create_flow_run", parameters={})["id"])
    assert run["state_type"] == "COMPLETED", run["state"]
    found = re.search(r"(\d+) samples = (\d+) done \+ (\d+) failed \+ (\d+) re-used", run["state"]["message"])
    assert found
    samples, done, failed, reused = map(int, found.groups())
    assert samples == done + failed + reused
    assert done == SYMBOLS
