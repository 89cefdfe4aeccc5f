import subprocess
import sys
from pathlib import Path

import pytest

from flows.local_stack.server import Place, check_port, checked_host, prefect_environment
from kline_core.errors import SettingError
from tests.support.processes import free_port


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    port = free_port()
    check_port(port)
    code = f"import socket\ns = socket.create_server(('127.0.0.1', {port}))\nprint('there', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "there\n"
        with pytest.raises(SettingError, match=rf"port {port} is in use by process {other.pid} .*--port \d+"):
            check_port(port)
        other.communicate("\n")
    for port in (0, -1, 65536):
        with pytest.raises(SettingError, match=f"--port is {port}; it must be between 1 and 65535"):
            check_port(port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "", "224.0.0.1", "nowhere.example"])
def test_a_host_is_one_address(host: str) -> None:
    with pytest.raises(SettingError, match=f"--host is {host}; it must be one IPv4 address of this machine"):
        checked_host(host, tls=True, password=True)


@pytest.mark.parametrize(
    ("tls", "password", "remedy"),
    [
        (False, False, "give --tls and set PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD, or leave out --host"),
        (True, False, "run; set PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD, or leave out --host"),
        (False, True, "run; give --tls, or leave out --host"),
    ],
)
def test_beyond_loopback_nothing_listens_without_tls_and_password(tls: bool, password: bool, remedy: str) -> None:
    with pytest.raises(
        SettingError, match=r"--host is 192.0.2.5, where others could have their own code run"
    ) as raised:
        checked_host("192.0.2.5", tls, password)
    assert remedy in str(raised.value)
    assert checked_host("192.0.2.5", tls=True, password=True) == "192.0.2.5"
    assert checked_host("127.0.0.1", tls, password) == "127.0.0.1"


def test_a_host_of_another_machine_is_named() -> None:
    with pytest.raises(SettingError, match=r"--host is 192.0.2.5, which is no address of this machine"):
        check_port(free_port(), "192.0.2.5")


def test_the_users_settings_count_but_for_where_the_server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://a/b", "PREFECT_LOGGING_LEVEL": "DEBUG"}
    for name, value in (kept | {"PREFECT_API_URL": "https://elsewhere/api", "PREFECT_API_KEY": "secret"}).items():
        monkeypatch.setenv(name, value)
    env = prefect_environment(tmp_path, tmp_path / "prefect", Place(4999))
    assert kept.items() <= env.items()
    assert "PREFECT_API_KEY" not in env
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4999/api"
    assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    # No page of another site that is open in a browser here.
    assert env["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4999,http://localhost:4999"
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "example.org")
    again = prefect_environment(tmp_path, tmp_path / "prefect", Place(4999))
    assert again["PREFECT_SERVER_ANALYTICS_ENABLED"] == "true"
    assert again["NO_PROXY"] == again["no_proxy"] == "example.org,127.0.0.1"
