import pytest
from prefect.settings import PREFECT_LOGGING_LEVEL, PREFECT_SERVER_API_AUTH_STRING, temporary_settings

from flows.common.server_words import CLIENT_PASSWORD, PASSWORD
from flows.local_stack.user_settings import check, inherited
from kline_core.errors import SettingError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PASSWORD, CLIENT_PASSWORD, "PREFECT_API_URL", "PREFECT_SERVER_API_HOST", "PREFECT_SERVER_API_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_what_the_user_has_set_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {
        "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://a/b",
        "PREFECT_SERVER_DATABASE_PASSWORD": "x",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK": "s3/results",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
        "PREFECT_SERVER_API_AUTH_STRING": "admin:hunter22",
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "debug",
    }
    others = {
        "PREFECT_API_URL": "https://elsewhere/api",
        "PREFECT_API_KEY": "secret",
        "PREFECT_PROFILE": "cloud",
        "PREFECT_HOME": "/elsewhere",
        "PREFECT_CLOUD_API_URL": "https://elsewhere/api",
        "PREFECT__FLOW_RUN_ID": "1",
        "KLINE_SCHEDULER": "y",
        "UVICORN_UDS": "/tmp/socket",
    }
    for name, value in (kept | others).items():
        monkeypatch.setenv(name, value)
    # Of the other server.
    monkeypatch.setenv(CLIENT_PASSWORD, "theirs:hunter33")
    env = inherited()
    assert kept.items() <= env.items()
    assert not others.keys() & env.keys()
    # What works for the server knows its password.
    assert env[CLIENT_PASSWORD] == "admin:hunter22"


def test_without_a_password_no_other_servers_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere/api")
    monkeypatch.setenv(CLIENT_PASSWORD, "theirs:hunter33")
    assert not {PASSWORD, CLIENT_PASSWORD} & inherited().keys()


@pytest.mark.slow
def test_a_profile_counts_as_variables_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_LOGGING_LEVEL", raising=False)
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "admin:hunter22", PREFECT_LOGGING_LEVEL: "WARNING"}):
        env = inherited()
    assert env[PASSWORD] == env[CLIENT_PASSWORD] == "admin:hunter22"
    assert env["PREFECT_LOGGING_LEVEL"] == "WARNING"


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PREFECT_CLIENT_METRICS_ENABLED": "true"}, "PREFECT_CLIENT_METRICS_ENABLED is true: .* unset it"),
        ({"PREFECT_CLIENT_ENABLE_METRICS": "1"}, "PREFECT_CLIENT_ENABLE_METRICS is 1"),
        ({PASSWORD: " "}, f"{PASSWORD} is empty; set it to USER:PASSWORD, or unset it"),
        ({CLIENT_PASSWORD: "admin:hunter22"}, f"{CLIENT_PASSWORD} is set, and {PASSWORD} is not: set both"),
        ({CLIENT_PASSWORD: "admin:hunter22", PASSWORD: "other:hunter33"}, f"and {PASSWORD} differs: set both"),
    ],
)
def test_what_would_open_a_door_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=says) as raised:
        inherited()
    assert "hunter" not in str(raised.value)


@pytest.mark.parametrize("off", ["false", "0", ""])
def test_what_is_switched_off_opens_nothing(monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    monkeypatch.setenv("PREFECT_CLIENT_METRICS_ENABLED", off)
    assert inherited()["PREFECT_CLIENT_METRICS_ENABLED"] == off


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PREFECT_SERVER_API_HOST", "0.0.0.0", "is 0.0.0.0, and --host is 127.0.0.1; give --host 0.0.0.0, or unset it"),
        ("PREFECT_SERVER_API_PORT", "4300", "is 4300, and --port is 4200; give --port 4300, or unset it"),
        ("PREFECT_SERVER_API_BASE_PATH", "/prefect/api", "is /prefect/api, and the path is /api; unset it"),
        ("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "true", "flow runs would take any server for this one; unset it"),
    ],
)
def test_what_contradicts_the_options_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=f"{name} is .*") as raised:
        check("127.0.0.1", 4200, tls=True)
    assert says in str(raised.value)
    assert raised.value.parameter == name
    assert name not in inherited() or "SKIP_VERIFY" in name


def test_the_same_twice_is_no_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", "127.0.0.1")
    monkeypatch.setenv("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "true")
    check("127.0.0.1", 4200, tls=False)
