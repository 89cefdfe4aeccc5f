"""The order in which a server looks at events for its messages: what an event follows is waited for half a minute.

Prefect waits a quarter of an hour, for events that come by unreliable ways. Those of a home's server stay within one
process, where an event that has not come soon never comes: only a server before this one has seen it, or nobody sent
it. Prefect loads this module in the server, see `PREFECT_SERVER_EVENTS_CAUSAL_ORDERING`.
"""

from datetime import timedelta
from typing import Final

from prefect.server.events.ordering import memory

LONGEST_WAIT: Final = timedelta(seconds=30)

# Prefect has no setting for it.
memory.PRECEDING_EVENT_LOOKBACK = LONGEST_WAIT  # type: ignore[attr-defined]

CausalOrdering = memory.CausalOrdering
"""What Prefect asks the module for."""
