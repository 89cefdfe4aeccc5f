"""What an event waits for, and how long."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.server.events.ordering import EventArrivedEarly, get_triggers_causal_ordering
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.settings import PREFECT_SERVER_EVENTS_CAUSAL_ORDERING, temporary_settings

from flows.local_stack.ordering import LONGEST_WAIT, CausalOrdering
from flows.local_stack.server import Place, prefect_environment

pytestmark = pytest.mark.flows


@pytest.fixture
def ordering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CausalOrdering]:
    folder = tmp_path_factory.mktemp("home")
    module = prefect_environment(folder, folder, Place(4200))["PREFECT_SERVER_EVENTS_CAUSAL_ORDERING"]
    with temporary_settings({PREFECT_SERVER_EVENTS_CAUSAL_ORDERING: module}):
        found = get_triggers_causal_ordering()
    assert isinstance(found, CausalOrdering)
    found.clear()
    yield found
    found.clear()


def event(ago: timedelta, follows: UUID | None = None) -> ReceivedEvent:
    then = datetime.now(UTC) - ago
    resource = {"prefect.resource.id": "prefect.flow-run.1"}
    return ReceivedEvent(occurred=then, received=then, event="changed", resource=resource, id=uuid4(), follows=follows)


def test_an_event_waits_for_the_one_it_follows_and_not_for_long(ordering: CausalOrdering) -> None:
    before, handled = event(timedelta()), []

    async def handle(one: ReceivedEvent, depth: int = 0) -> None:
        async with ordering.preceding_event_confirmed(handle, one, depth):
            handled.append(one)

    async def come() -> None:
        after = event(timedelta(), before.id)
        with pytest.raises(EventArrivedEarly):
            await handle(after)
        await handle(before)
        assert handled == [before, after]
        never = uuid4()
        soon, late = event(LONGEST_WAIT / 2, never), event(LONGEST_WAIT, never)
        with pytest.raises(EventArrivedEarly):
            await handle(soon)
        assert await ordering.get_lost_followers() == []
        await handle(late)
        assert handled[2:] == [late]

    asyncio.run(come())


def test_what_waited_long_enough_is_looked_at(ordering: CausalOrdering) -> None:
    waiting = event(LONGEST_WAIT, uuid4())

    async def come() -> list[ReceivedEvent]:
        await ordering.record_follower(waiting)
        return list(await ordering.get_lost_followers())

    assert asyncio.run(come()) == [waiting]
