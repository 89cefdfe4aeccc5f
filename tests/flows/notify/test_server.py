"""Which Prefect server is meant, and what is said where there is none."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.notify.server import connected
from kline_core.errors import ServerError
from tests.support.processes import free_port
from tests.support.receivers import served


def test_no_server_is_named(tmp_path: Path) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        for home, says in ((None, "no home is named"), (str(tmp_path), "no `kline up` runs for the home")):
            with pytest.raises(ServerError, match=says), connected(home):
                pass


@pytest.mark.slow
def test_the_server_of_kline_up_is_taken_and_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    ui = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "prefect" / "up.json").write_text(json.dumps({"ui": ui}))
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ServerError, match=f"no Prefect server answers at {ui}/api") as raised,
        connected(str(tmp_path)) as client,
    ):
        client.read_automations()
    assert raised.value.address == f"{ui}/api"


@pytest.mark.slow
def test_a_server_that_asks_for_a_password() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        do_POST = do_GET  # noqa: N815  the names that are looked for

        def log_message(self, *_: Any) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        url = f"http://127.0.0.1:{port}/api"
        with (
            temporary_settings({PREFECT_API_URL: url}),
            pytest.raises(ServerError, match="asks for a password; set PREFECT_API_AUTH_STRING to it"),
            connected(None) as client,
        ):
            client.read_automations()
