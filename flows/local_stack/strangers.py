"""Schedules of other markets than the home's, paused whenever `kline up` starts.

A home that was empty when its schedules were deployed has a market once it has bars.
"""

from prefect.client.orchestration import SyncPrefectClient

from flows.local_stack.deployments import all_deployments
from flows.local_stack.source import market_of_source
from kline_core.bars.home_market import noted_market, of_another_market
from kline_core.errors import HomeError
from kline_core.store.home import Home


def pause_strangers(client: SyncPrefectClient, home: Home, source: str | None) -> list[str]:
    """Pause the schedules of deployments that name the calendar of another market than the home's.

    An empty home has the market of its live source. Returns a line for each schedule that was paused, with the reason,
    or one that says why the home's market cannot be known.
    """
    try:
        market = noted_market(home.notes()) or market_of_source(source)
    except HomeError as error:
        return [f"schedules of other markets are not looked for: {error}"]
    lines = []
    for deployment in all_deployments(client):
        reason = of_another_market(market, deployment.parameters.get("calendar"))
        if reason is None:
            continue
        for schedule in deployment.schedules:
            if schedule.active:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)
                lines.append(f"the schedule of {deployment.name} is paused, since {reason}")
    return lines
