"""The Prefect server that sends the messages: the one that is set for Prefect, else that of the home's `kline up`."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    get_current_settings,
    temporary_settings,
)

from flows.common.server_words import CLIENT_PASSWORD, PASSWORD
from flows.local_stack.locking import NOTE
from kline_core.errors import ServerError
from kline_core.store.folder import home_folder, home_uri

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Names of this machine."""


@contextmanager
def connected(home: str | None) -> Iterator[SyncPrefectClient]:
    """A client of the server.

    Args:
        home: Folder or URL of a home, whose `kline up` is asked for its server if none is set for Prefect.

    Raises:
        ServerError: There is no server, it does not answer, or it refuses.
        HomeError: No home can have such a name.
    """
    settings: dict[Any, Any] = {}
    if not (url := get_current_settings().api.url):
        url, settings = _of_kline_up(home)
    try:
        with (
            temporary_settings(settings | {PREFECT_API_URL: url}),
            # A proxy is for other machines.
            get_client({"trust_env": urlsplit(url).hostname not in LOOPBACK}, sync_client=True) as client,
        ):
            yield client
    except httpx.HTTPStatusError as error:
        status, asked = error.response.status_code, error.request.url.path
        asks = f"asks for a password; set {CLIENT_PASSWORD} to it"
        said = asks if status == 401 else f"answers {status} to {asked}; see its log"
        # Not from the error: its text quotes what was sent, secrets included.
        raise ServerError(f"the Prefect server at {url} {said}", address=url) from None
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, PrefectException) as error:
        raise ServerError(
            f"no Prefect server answers at {url} ({type(error).__name__}); start it, such as with `kline up`, or set "
            "PREFECT_API_URL to one that runs",
            address=url,
        ) from error


def pages_of(client: SyncPrefectClient) -> str:
    """URL of the server's pages."""
    return str(client.api_url).rstrip("/").removesuffix("/api")


def _of_kline_up(home: str | None) -> tuple[str, dict[Any, Any]]:
    """API of the server of the `kline up` that runs for a home, and settings that its clients need."""
    folder = None if home is None else home_folder(home_uri(home))
    ui = None
    if folder is not None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            ui = str(json.loads((folder / "prefect" / NOTE).read_text())["ui"])
    if folder is None or ui is None:
        where = "no home is named" if home is None else f"no `kline up` runs for the home {home}"
        raise ServerError(
            f"{where}, and PREFECT_API_URL is not set: start the server with `kline --home HOME up`, and name the same "
            "home here, or set PREFECT_API_URL"
        )
    settings: dict[Any, Any] = {}
    if CLIENT_PASSWORD not in os.environ and PASSWORD in os.environ:
        settings[PREFECT_API_AUTH_STRING] = os.environ[PASSWORD]
    authority = _authority(folder / "prefect" / "tls" / "ca.pem")
    if ui.startswith("https:") and authority is not None and PREFECT_API_SSL_CERT_FILE.name not in os.environ:
        settings[PREFECT_API_SSL_CERT_FILE] = str(authority)
    return f"{ui}/api", settings


def _authority(file: Path) -> Path | None:
    return file if file.is_file() else None
