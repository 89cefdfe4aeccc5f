"""The source of `kline up --source`: where the daily deployments take their bars from.

It is kept in the home's folder `prefect` and holds at every start, until another one is named, or none.
"""

from pathlib import Path
from typing import Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate

from flows.common.context import check_bars_source
from flows.local_stack.deployments import all_deployments
from flows.local_stack.notes import read_json, write_json
from kline_core.bars.home_market import market_of_all, noted_market
from kline_core.errors import HomeError
from kline_core.markets import MARKETS, Market
from kline_core.sources.registry import SOURCES, is_live, parse_universe
from kline_core.store.home import Home

NONE: Final = "none"
"""Names no source, so that bars come in by other means again."""
_NOTE: Final = "source.json"


def checked_source(named: str | None, folder: Path) -> str | None:
    """The source that is to hold: the named one, else the one that the home's folder `prefect` keeps; None for neither.

    As a worker in another folder finds it: a live one as it is, a folder with its whole path. Raises `InputError`,
    `SettingError` or `SourceError` if one that is named cannot be used, `HomeError` if what the home keeps is damaged.
    """
    if named is None:
        note = read_json(folder / _NOTE)
        kept = NONE if note is None else note.get("source")
        if not isinstance(kept, str):
            raise HomeError(
                f"{folder / _NOTE} is damaged, and does not say where bars come from; say it with --source, which also "
                f"takes {NONE}",
                home=str(folder.parent),
            )
        # Not looked at again: a folder that is away for now is waited for by the runs, which say so.
        return None if kept == NONE else kept
    if named == NONE:
        return NONE
    check_bars_source(named)
    return named if is_live(named) else str(Path(named).resolve())


def set_source(client: SyncPrefectClient, home: Home, folder: Path, source: str | None) -> list[str]:
    """Let deployments take their bars from a source, and keep it; None changes nothing.

    Those that have a parameter for it, and name the calendar of the source's market; where the market is not known, all
    that name a calendar. Returns a line for each one.
    """
    if source is None:
        return []
    calendar = None if source == NONE else _calendar(home, source)
    value = None if source == NONE else source
    lines = []
    for deployment in all_deployments(client):
        own = deployment.parameters.get("calendar")
        if "source" not in deployment.parameters or own is None or calendar not in (None, own):
            continue
        if deployment.parameters["source"] != value:
            parameters = deployment.parameters | {"source": value}
            client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))
        lines.append(f"{deployment.name} takes bars from {'no source' if value is None else value}")
    write_json(folder / _NOTE, {"source": source})
    return lines


def market_of_source(source: str | None) -> Market | None:
    """The market of a live source; None for a folder, for no source, and for symbols of several markets."""
    if source is None or not is_live(source):
        return None
    universe = parse_universe(source)
    named = SOURCES[universe.source]().market
    return market_of_all(universe.symbols) if named is None else MARKETS[named]


def _calendar(home: Home, source: str) -> str | None:
    market = market_of_source(source) if is_live(source) else noted_market(home.notes())
    return None if market is None else market.calendar
