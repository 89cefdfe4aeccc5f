"""What the programs of `kline up` and `kline demo` take over of the user's environment.

Everything that the user has set for Prefect and Dask counts (logging, results, notifications, the database, the
password), be it in variables, in Prefect's profile or in prefect.toml, except what names another server or account.
What would open a door, or contradicts the options of the command line, is refused by its name.
"""

import os

from prefect.settings import get_current_settings

from flows.common.server_words import CLIENT_PASSWORD, PASSWORD
from kline_core.errors import SettingError

_OF_ANOTHER_SERVER = {
    *("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_SSL_CERT_FILE", CLIENT_PASSWORD, "PREFECT_UI_URL"),
    *("PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"),
    # Where it listens, which the options say; checked by `check`.
    *("PREFECT_SERVER_API_HOST", "PREFECT_SERVER_API_PORT", "PREFECT_SERVER_API_BASE_PATH"),
}
# With two underscores: Prefect's notes to itself, of a flow run that starts this. uvicorn would listen as its own say.
_LEFT_OUT = ("PREFECT__", "PREFECT_CLOUD_", "KLINE_", "UVICORN_")
_METRICS = ("PREFECT_CLIENT_METRICS_ENABLED", "PREFECT_CLIENT_ENABLE_METRICS")
_UNVERIFIED = "PREFECT_API_TLS_INSECURE_SKIP_VERIFY"


def inherited() -> dict[str, str]:
    """The user's environment for the programs of the home's own server.

    Raises `SettingError` for a variable that would open a door, or leave one open that was meant to be closed.
    """
    environ = _given()
    for name in _METRICS:
        if _on(environ.get(name)):
            raise SettingError(
                f"{name} is {environ[name]}: it would serve metrics to every network, without TLS or password; "
                "unset it",
                parameter=name,
                value=environ[name],
            )
    password = environ.get(PASSWORD)
    if password is not None and not password.strip():
        raise SettingError(f"{PASSWORD} is empty; set it to USER:PASSWORD, or unset it", parameter=PASSWORD)
    if CLIENT_PASSWORD in environ and "PREFECT_API_URL" not in environ and environ[CLIENT_PASSWORD] != password:
        raise SettingError(
            f"{CLIENT_PASSWORD} is set, and {PASSWORD} {'differs' if password else 'is not'}: set both to the same, so "
            f"that the server asks for it, or unset {CLIENT_PASSWORD}",
            parameter=CLIENT_PASSWORD,
        )
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _OF_ANOTHER_SERVER and not name.startswith(_LEFT_OUT)
    }
    return kept if password is None else kept | {CLIENT_PASSWORD: password}


def check(host: str, port: int, tls: bool) -> None:
    """Refuse variables that contradict the options of `kline up`. Raises `SettingError` that names one."""
    wanted = {
        "PREFECT_SERVER_API_HOST": ("--host", host),
        "PREFECT_SERVER_API_PORT": ("--port", str(port)),
        "PREFECT_SERVER_API_BASE_PATH": ("the path", "/api"),
    }
    environ = _given()
    for name, (option, value) in wanted.items():
        given = environ.get(name)
        if given is not None and given != value:
            remedy = f"give {option} {given}, or unset it" if option.startswith("--") else "unset it"
            raise SettingError(
                f"{name} is {given}, and {option} is {value}; {remedy}", parameter=name, value=given, bound=value
            )
    if tls and _on(environ.get(_UNVERIFIED)):
        raise SettingError(
            f"{_UNVERIFIED} is {environ[_UNVERIFIED]}: flow runs would take any server for this one; unset it, or "
            "leave out --tls",
            parameter=_UNVERIFIED,
            value=environ[_UNVERIFIED],
        )


def _given() -> dict[str, str]:
    """The environment, and as variables what else the user has set for Prefect."""
    settings = get_current_settings().to_environment_variables(exclude_unset=True, include_secrets=True)
    return settings | os.environ


def _on(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in ("", "0", "false", "f", "no", "n", "off")
