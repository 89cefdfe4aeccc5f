"""Home and cluster of a flow, named by a parameter or by the worker's environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger

from kline_core._text import quoted
from kline_core.api.data import check_paths
from kline_core.compute.cluster import Cluster
from kline_core.compute.opening import open_cluster
from kline_core.errors import HomeError, InputError, SettingError
from kline_core.sources.registry import SOURCES, check_source, is_live
from kline_core.store.home import Home


def open_home(home: str | None, source: str | None = None, awaited: bool = False) -> Home:
    """The home named `home`, or the one that KLINE_HOME names; made if there is a `source` to fill it from.

    `source` is a live source, such as akshare:csi300, or a folder, which may still have to come if it is `awaited`.
    Raises `HomeError` if neither names a home, `InputError` if nobody can look at the folder, and `SettingError` or
    `SourceError` if the live source cannot be asked.
    """
    named = home or os.environ.get("KLINE_HOME")
    if not named:
        raise HomeError("no home is named; set the parameter home, or KLINE_HOME where the worker runs")
    if source is not None and (is_live(source) or not awaited):
        check_bars_source(source)
    return Home(named, create=source is not None)


def check_bars_source(source: str) -> None:
    """Look whether bars can come from a live source or a folder. Asks no vendor; raises as `open_home`."""
    if is_live(source):
        check_source(source)
        return
    try:
        check_paths([Path(source)] if source.strip() else [])
    except InputError as error:
        raise InputError(
            f"{error}, or a live source such as {next(iter(SOURCES))}:csi300 ({', '.join(SOURCES)})", source=source
        ) from error
    if not source.strip():
        raise InputError(
            f"source is {source!r}; name a folder, or a live source such as {next(iter(SOURCES))}:csi300",
            source=source,
        )


@contextmanager
def opened_cluster(scheduler: str | None, threads: int | None) -> Iterator[Cluster]:
    """The standing cluster at `scheduler`, or at KLINE_SCHEDULER, or else one inside this process.

    KLINE_SHARDS says how many shards the vectors lie in, if any. Log records of its tasks go to the log of the flow
    run. Raises as `open_cluster`, and `SettingError` if KLINE_SHARDS is no whole number.
    """
    logger = get_run_logger()
    address = scheduler or os.environ.get("KLINE_SCHEDULER") or None
    # Of the deployment, not of a flow: whether a worker can hold all is a matter of the workers.
    shards = shards_named(os.environ.get("KLINE_SHARDS"))
    with open_cluster(address, threads, log=logger.log, shards=shards) as cluster:
        yield cluster


def shards_named(text: str | None) -> int | None:
    """The number that KLINE_SHARDS is, None if it is not set or empty. Raises `SettingError` if it is none."""
    if not text:
        return None
    if not text.isdecimal():
        raise SettingError(
            f"KLINE_SHARDS is {quoted(text)}; it must be a whole number",
            parameter="KLINE_SHARDS",
            value=text,
            bound="a whole number",
        )
    return int(text)
