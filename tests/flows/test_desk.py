"""A desk's day, as a person sees it: `kline up`, pages in a real browser, a run by hand, a cancellation.

With KLINE_SCREENSHOTS naming a folder, what the browser saw is kept there.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Response, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from kline_core.bars.ingest import ingest
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.synthetic import random_walk
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.settings import Settings
from kline_core.store.home import Home
from tests.support.desk import kline_up
from tests.support.prefect_server import ROOT, Server
from tests.support.processes import poll

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.flows,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

SYMBOLS, BARS = 8, 300
# All that there are.
SAMPLES = SYMBOLS * (BARS - Settings().patterns.window_bars + 1)
# More than any symbol has usable dates, and not what the form offers.
ASKED = 500
# A page may take its time where the machine is busy with something else; in milliseconds.
PAGE, CLICK = 60_000, 20_000
CLICKS = 3
expect.set_options(timeout=PAGE)
MORE = """
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
        page.set_default_timeout(PAGE)
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2].split(":")[0]))
        page.goto(self.server.url.removesuffix("/api") + path)
        return page

    def picture(self, page: Page, name: str) -> None:
        page.screenshot(path=self.pictures / f"{name}.png")

    def keep(self, page: Page, name: str) -> None:
        self.picture(page, name)
        page.close()

    def runs(self, deployment: str) -> dict[str, dict[str, Any]]:
        """Flow runs of a deployment by id."""
        found = self.server.post("flow_runs/filter", deployments={"id": {"any_": [deployment]}})
        return {run["id"]: run for run in found}

    def start(self, name: str) -> str:
        """A run of a daily deployment, by the form; its id."""
        deployment = self.server.get(f"deployments/name/daily/{name}")["id"]
        before = self.runs(deployment)
        form = self.form(deployment)
        field(form, "samples").get_by_role("spinbutton").fill(str(ASKED))
        answer = answered(form, "/create_flow_run", submit(form).click)
        assert answer.status == 201, answer.text()
        made = answer.json()["id"]
        # Where a run is made, the form is left.
        expect(form).to_have_url(re.compile(f"/deployments/deployment/{deployment}$"))
        form.close()
        # One, however often it was clicked.
        (run,) = set(self.runs(deployment)) - set(before)
        assert run == made
        return run

    def hold(self, symbols: int) -> None:
        """Let runs of the deployment `slow` finish so many symbols, and no more."""
        (self.home / "hold.new").write_text(str(symbols))
        (self.home / "hold.new").rename(self.home / "hold")

    def let_go(self) -> None:
        (self.home / "hold").unlink()

    def progress(self, flow_run: str) -> float:
        """The share that its page shows, in percent."""
        return float(self.artifact(flow_run, "daily-progress")["data"])

    def form(self, deployment: str) -> Page:
        """The form of a run by hand, once it is filled with what is the default."""
        form = self.page(f"/deployments/deployment/{deployment}/run")
        expect(field(form, "samples").get_by_role("spinbutton")).to_have_value("600")
        expect(submit(form)).to_be_enabled()
        return form

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


def field(form: Page, name: str) -> Locator:
    return form.locator(".schema-form-property").filter(has=form.get_by_text(f"{name} (Optional)", exact=True))


def submit(form: Page) -> Locator:
    return form.get_by_role("button", name="Submit", exact=True)


def answered(page: Page, path: str, press: Callable[[], None]) -> Response:
    """What the server answers to what a click makes the page send to `path`.

    A click that the page has lost is repeated, as a person would. None that was taken is: the page is listened to all
    the time.
    """
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if wanted(request) else None)

    def wanted(request: Request) -> bool:
        return request.method == "POST" and request.url.endswith(path)

    for _ in range(CLICKS):
        try:
            with page.expect_request(wanted, timeout=CLICK):
                press()
        except PlaywrightTimeoutError:
            if not sent:
                continue
        answer = sent[0].response()
        assert answer is not None
        if answer.status != 503:
            return answer
        # Two writers met in the server's SQLite file; the page says so, and whoever reads it presses again.
        sent.clear()
    raise AssertionError(f"no answer of {path} after {CLICKS} clicks")


@pytest.fixture(scope="module")
def place(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clone that deploys one flow more, and a home with bars and patterns."""
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
    update_patterns(home, Settings().patterns, LocalWindowEncoder(Encoder.load()))
    (place / "home" / "prefect").mkdir()
    shutil.copy(tables, place / "home" / "prefect")
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


@pytest.mark.long
def test_a_day_at_the_desk(place: Path, browser: Browser) -> None:
    with opened(place, browser) as desk:
        the_deployments_are_there(desk)
        the_form_refuses_what_does_not_fit(desk)
        a_run_by_hand_shows_its_progress_and_what_came_of_it(desk)
        a_run_is_cancelled_half_way(desk)
        ingest([place / "day.csv"], Home(place / "home"))
        only_the_new_session_is_computed(desk)
        the_board_leads_to_everything_else(desk)
        assert desk.hosts == {"127.0.0.1"}


@pytest.mark.long
def test_the_desk_opens_and_closes(place: Path, browser: Browser) -> None:
    with opened(place, browser) as desk:
        the_deployments_are_there(desk)
        assert desk.hosts == {"127.0.0.1"}


def the_deployments_are_there(desk: Desk) -> None:
    page = desk.page("/deployments")
    for name in ("a-share", "us", "slow"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    desk.keep(page, "deployments")


def the_form_refuses_what_does_not_fit(desk: Desk) -> None:
    deployment = desk.server.get("deployments/name/daily/slow")["id"]
    form = desk.form(deployment)
    expect(form.get_by_text("Share of samples that may be without a value, 0 to 1")).to_be_visible()
    desk.picture(form, "form")
    field(form, "samples").get_by_role("spinbutton").fill("0")
    assert answered(form, "/create_flow_run", submit(form).click).status == 409
    expect(form.get_by_text("Validation failed for field 'samples'").first).to_be_visible()
    desk.keep(form, "refused")
    assert desk.runs(deployment) == {}


def a_run_by_hand_shows_its_progress_and_what_came_of_it(desk: Desk) -> None:
    desk.hold(SYMBOLS // 4)
    run = desk.start("slow")
    assert desk.server.get(f"flow_runs/{run}")["parameters"]["samples"] == ASKED
    seen: list[float] = []

    def shows(share: float) -> bool:
        seen.append(desk.progress(run))
        return seen[-1] == share

    poll(lambda: shows(25), "a quarter")
    page = desk.page(f"/artifacts/artifact/{desk.artifact(run, 'daily-progress')['id']}")
    line = " left, [0-9]+ samples/s; [0-9]+ of [0-9]+ symbols; {} of {} samples = [0-9]+ done"
    expect(page.get_by_text(re.compile(line.format(SAMPLES // 4, SAMPLES)))).to_be_visible()
    desk.hold(SYMBOLS // 2)
    poll(lambda: shows(50), "half")
    page.reload()
    expect(page.get_by_text(re.compile(line.format(SAMPLES // 2, SAMPLES)))).to_be_visible()
    desk.keep(page, "progress")
    desk.let_go()
    poll(lambda: shows(100), "all")
    assert seen == sorted(seen)

    ended = desk.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    page = desk.page(f"/artifacts/artifact/{desk.artifact(run, 'daily-summary')['id']}")
    expect(page.get_by_role("heading", name=ended["state"]["message"])).to_be_visible()
    desk.keep(page, "summary")
    page = desk.page(f"/artifacts/artifact/{desk.artifact(run, 'daily-ranking')['id']}")
    expect(page.get_by_text("mean outcome").first).to_be_visible()
    desk.keep(page, "ranking")
    for key in ("daily-values", "daily-matches", "daily-history"):
        page = desk.page(f"/artifacts/artifact/{desk.artifact(run, key)['id']}")
        picture = page.locator("img[src^='data:image/png']")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") > 300
        desk.keep(page, key)
    page = desk.page(f"/runs/flow-run/{run}")
    expect(page.get_by_text("all symbols").first).to_be_visible()
    expect(page.get_by_text("Finished in state Completed").first).to_be_attached()
    desk.keep(page, "run")


def a_run_is_cancelled_half_way(desk: Desk) -> None:
    before = Home(desk.home).read("factors").num_rows
    desk.hold(SYMBOLS // 2)
    run = desk.start("slow")
    page = desk.page(f"/runs/flow-run/{run}")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    expect(cancel).to_be_enabled()
    poll(lambda: desk.progress(run) == 50, "half")
    dialogue = page.get_by_role("dialog").filter(has_text="Cancel Flow Run")

    def confirm() -> None:
        # It may have gone away with a click that was lost.
        if not dialogue.is_visible():
            cancel.click()
        dialogue.get_by_role("button", name="Confirm", exact=True).click()

    answer = answered(page, f"/flow_runs/{run}/set_state", confirm)
    assert answer.json()["status"] == "ACCEPT", answer.text()
    ended = desk.ended(run)
    assert ended["state_type"] == "CANCELLED", ended["state"]
    # Exactly: a message in passing says that it was cancelled while it is still being.
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
    desk.keep(page, "cancelled")
    desk.let_go()
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


def the_board_leads_to_everything_else(desk: Desk) -> None:
    newest = str(max(Home(desk.home).read("bars", ["date"])["date"].to_pylist()))
    manual = desk.server.get("deployments/name/daily/manual")["id"]
    # A calendar of all weekdays, as the synthetic bars have them.
    asked = {"calendar": "24/5", "as_of": newest, "symbols": None}
    run = desk.ended(desk.server.post(f"deployments/{manual}/create_flow_run", parameters=asked)["id"])
    assert run["state_type"] == "COMPLETED", run["state"]
    name = f"24/5 {newest}: {SYMBOLS} of {SYMBOLS} scored"
    assert run["name"].startswith(name)
    page = desk.page(f"/runs/flow-run/{run['id']}")
    expect(page.get_by_text(run["name"]).first).to_be_visible()
    desk.keep(page, "result")
    page = desk.page("/artifacts/key/board-24-5")
    expect(page.get_by_text(name).first).to_be_visible()
    page.get_by_role("link", name=desk.artifact(run["id"], "board-24-5")["id"][:8]).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    picture = page.locator("img[src^='data:image/png']")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300
    page.screenshot(path=desk.pictures / "board.png", full_page=True)
    for link, where in {
        "run": f"/runs/flow-run/{run['id']}",
        "summary": f"/artifacts/artifact/{desk.artifact(run['id'], 'daily-24-5-summary')['id']}",
        "all symbols": f"/artifacts/artifact/{desk.artifact(run['id'], 'daily-24-5-symbols')['id']}",
    }.items():
        with page.context.expect_page() as opened_page:
            page.get_by_role("main").or_(page.locator("section")).get_by_role(
                "link", name=link, exact=True
            ).first.click()
        expect(opened_page.value).to_have_url(re.compile(f"{where}$"))
        opened_page.value.close()
    page.close()
