import subprocess
import sys
from pathlib import Path

import pytest

from flows.local_stack.server import check_port, prefect_environment
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


def test_only_the_database_of_the_users_prefect_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://a/b", "PREFECT_SERVER_DATABASE_PASSWORD": "x"}
    for name, value in (
        kept | {"PREFECT_API_KEY": "secret", "PREFECT_PROFILE": "cloud", "KLINE_SCHEDULER": "y"}
    ).items():
        monkeypatch.setenv(name, value)
    env = prefect_environment(tmp_path, tmp_path / "prefect", 4999)
    assert kept.items() <= env.items()
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE", "KLINE_SCHEDULER"} & env.keys()
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4999/api"
    assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
