"""A checkup as a whole, and the servers that it asks."""

import json
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata

import pytest

from kline_core.api import doctor
from kline_core.api.doctor import check_dask, check_prefect, checkup


@contextmanager
def server(status, body):
    """A server on loopback that answers everything in the same way; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/api/admin/version" else 404)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/api"
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def silent():
    """Port of a program that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.2)


HERE = metadata.version("prefect")


@pytest.mark.parametrize(
    ("status", "body", "state", "says"),
    [
        (200, f'"{HERE}"', "ok", f"server {HERE} at "),
        (200, '"3.0.0"', "note", f"server 3.0.0 at .* but {HERE} here"),
        (401, "no", "ok", "asks who calls"),
        (404, "no", "problem", "answers 404, as no Prefect server does"),
        (500, "no", "problem", "answers 500"),
    ],
)
def test_what_a_prefect_server_answers(status, body, state, says):
    with server(status, body) as url:
        (found,) = check_prefect(url, None)
    assert found.state == state
    assert re.search(says, found.text)


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_a_server_that_is_silent_or_not_there(silent):
    for url in (
        f"http://127.0.0.1:{silent}/api",
        "http://127.0.0.1:9/api",
        "http://[",
        "nonsense",
        "http://127.0.0.1:0",
    ):
        (found,) = check_prefect(url, None)
        assert found.state == "problem"
        assert "PREFECT_API_URL" in found.text


@pytest.mark.usefixtures("hurried")
def test_no_password_is_shown():
    (found,) = check_prefect("http://me:secret@127.0.0.1:9/api?key=secret", None)
    assert "http://127.0.0.1:9/api (" in found.text
    assert "secret" not in found.text


def test_the_server_of_a_kline_up_that_runs(tmp_path):
    (found,) = check_prefect(None, tmp_path)
    assert found.state == "note"
    (tmp_path / "prefect").mkdir()
    with server(200, f'"{HERE}"') as url:
        (tmp_path / "prefect" / "up.json").write_text(json.dumps({"pid": 1, "ui": url.removesuffix("/api")}))
        (found,) = check_prefect(None, tmp_path)
        assert found.state == "ok"
    for text in ("", "[]", "{}", "{"):
        (tmp_path / "prefect" / "up.json").write_text(text)
        (found,) = check_prefect(None, tmp_path)
        assert found.state == "note"


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_a_scheduler_that_is_silent_or_not_there(silent):
    assert [check.state for check in check_dask(None)] == ["ok"]
    for address in (f"tcp://127.0.0.1:{silent}", "tcp://127.0.0.1:9", "nonsense://", "tcp://"):
        (found,) = check_dask(address)
        assert found.state == "problem"
        assert f"no Dask scheduler answers at {address} (" in found.text


def test_a_scheduler_with_workers(standing):
    (found,) = check_dask(standing)
    assert (found.state, found.text) == ("ok", f"1 workers with 2 threads at {standing}")


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_a_home_is_looked_at_if_one_is_named(tmp_path, monkeypatch):
    for name in ("check_calendars", "check_packages"):
        monkeypatch.setattr(doctor, name, list)
    monkeypatch.setattr(doctor, "check_machine", lambda _: [])
    without = checkup(environment={})
    assert [check.state for check in without.checks if check.subject == "home"] == ["note"]
    assert without.failure is None
    missing = checkup(tmp_path / "none", {})
    assert missing.failure.startswith(f"home: there is no home at {tmp_path / 'none'}")
    assert not (tmp_path / "none").exists()
    servers = checkup(None, {"PREFECT_API_URL": "http://127.0.0.1:9/api", "KLINE_SCHEDULER": "tcp://127.0.0.1:9"})
    assert [check.subject for check in servers.problems] == ["Prefect", "Dask"]
