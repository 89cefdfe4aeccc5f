"""Whether a folder is a home, or may become one."""

from pathlib import Path

from kline_core._secrets import holds_credentials
from kline_core.errors import HomeError


def check_place(uri: str) -> None:
    """Refuse an object-store URL that carries credentials. Raises `HomeError`.

    It would stand in process lists, logs, parameters of flow runs and reports.
    """
    if holds_credentials(uri):
        scheme, _, rest = uri.partition("://")
        bare = f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
        raise HomeError(
            f"home {uri} carries credentials or a query, which logs and process lists would show; name it {bare}, and "
            "set the variables of the store, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            home=bare,
        )


def why_no_home(uri: str, folder: Path | None) -> str:
    """Message about a place without a bars table, with what to do; `folder` is None if the place is a URL."""
    if folder is None or not folder.exists():
        return f"there is no home at {uri}; make one with `kline ingest` or name another with --home"
    if not folder.is_dir():
        return f"{uri} is a file, not a home; name a folder with --home"
    if not any(folder.iterdir()):
        return f"{uri} is an empty folder, not a home; make one there with `kline ingest`"
    return f"{uri} is no home, or a half-made one: it has no bars table; ingest into an empty folder instead"


def check_room(uri: str, folder: Path | None) -> None:
    """Refuse to make a home among other files, but allow finishing one whose creation was cut short.

    Raises `HomeError`. `folder` is None if the place is a URL, which is not checked.
    """
    if folder is None or not folder.exists():
        return
    if not folder.is_dir():
        raise HomeError(why_no_home(uri, folder), home=uri)
    others = sorted(entry.name for entry in folder.iterdir() if entry.name != "bars")
    if others or any(entry.is_file() for entry in folder.rglob("*")):
        held = ", ".join(others[:3]) or "bars without its log"
        raise HomeError(
            f"{uri} holds other things ({held}) and no bars table; name an empty folder with --home", home=uri
        )
