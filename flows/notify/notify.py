"""Automations that send messages about flow runs: made, listed and removed. One for each place, by its name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import BlockDocumentCreate, BlockDocumentUpdate
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.common.flow_names import FLOWS
from flows.notify.channels import Channel
from flows.notify.messages import EVENTS, SUBJECT, payload, text
from flows.notify.server import connected, pages_of
from kline_core.errors import SettingError

_PREFIX = "kline-"


@dataclass(frozen=True, slots=True)
class Notice:
    """One automation that sends messages."""

    name: str
    on: list[str]
    """What it tells of, keys of `EVENTS`."""
    about: str
    """Where its messages go, without secrets."""
    active: bool
    """False if somebody has paused it on its page."""


def notify(channel: Channel, on: Sequence[str], home: str | None) -> Notice:
    """Have the server send a message to a place; one that is set up for it already is replaced.

    Args:
        channel: Where to.
        on: What to tell of, keys of `EVENTS`.
        home: Home whose `kline up` is meant, if no server is set for Prefect; messages name it for runs that name none.

    Raises `ServerError` and `HomeError` as `connected`.
    """
    with connected(home) as client:
        block = _saved(client, channel)
        pages = pages_of(client)
        action: CallWebhook | SendNotification
        if channel.kind == "webhook":
            url: Any = getattr(channel.block, "url")  # noqa: B009  of one kind of block only
            action = CallWebhook(
                type="call-webhook", block_document_id=block, payload=payload(url.get_secret_value(), home, pages)
            )
        else:
            action = SendNotification(
                type="send-notification", block_document_id=block, subject=SUBJECT, body=text(home, pages)
            )
        automation = AutomationCore(
            name=channel.name,
            description=channel.place,
            enabled=True,
            trigger=EventTrigger(
                type="event",
                expect={event for each in on for event in EVENTS[each]},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)},
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[action],
        )
        # As Prefect would read it: an update sends only what was set.
        whole = AutomationCore.model_validate(automation.model_dump(mode="json", exclude={"owner_resource"}))
        there = _named(client, channel.name)
        if there:
            client.update_automation(there[0].id, whole)
        else:
            client.create_automation(whole)
        for twin in there[1:]:
            client.delete_automation(twin.id)
        return _notice(_named(client, channel.name)[0])


def notices(home: str | None) -> list[Notice]:
    """What is set up, by name. Raises as `connected`."""
    with connected(home) as client:
        return sorted((_notice(each) for each in _all(client)), key=lambda notice: notice.name)


def removed(name: str, home: str | None) -> Notice:
    """Remove what is set up under a name, with its secrets.

    Raises `SettingError` if there is none of that name, and as `connected`.
    """
    with connected(home) as client:
        there = [each for each in _all(client) if each.name == name]
        if not there:
            known = ", ".join(sorted(each.name for each in _all(client)))
            raise SettingError(
                f"--remove is {name}, and the server has {f'only {known}' if known else 'no notifications'}",
                parameter="--remove",
                value=name,
            )
        for each in there:
            client.delete_automation(each.id)
            for action in each.actions:
                if isinstance(action, CallWebhook | SendNotification):
                    client.delete_block_document(action.block_document_id)
        return _notice(there[0])


def _saved(client: SyncPrefectClient, channel: Channel) -> Any:
    """Id of the channel's block on the server, stored or brought up to date."""
    kind: type[Block] = type(channel.block)
    slug = kind.get_block_type_slug()
    block_type = client.read_block_type_by_slug(slug)
    try:
        schema = client.read_block_schema_by_checksum(kind._calculate_schema_checksum())
    except ObjectNotFound:
        # A server of another release.
        schema = client.create_block_schema(kind._to_block_schema(block_type_id=block_type.id))  # type: ignore[arg-type]
    document = channel.block._to_block_document(channel.name, schema.id, block_type.id, include_secrets=True)
    new = BlockDocumentCreate(
        name=channel.name, data=document.data, block_schema_id=schema.id, block_type_id=block_type.id
    )
    try:
        there = client.read_block_document_by_name(channel.name, slug, include_secrets=False)
    except ObjectNotFound:
        return client.create_block_document(new).id
    client.update_block_document(there.id, BlockDocumentUpdate(block_schema_id=schema.id, data=document.data))
    return there.id


def _all(client: SyncPrefectClient) -> list[Automation]:
    return [
        each
        for each in client.read_automations(limit=200)
        if each.name.startswith((f"{_PREFIX}webhook-", f"{_PREFIX}email-"))
    ]


def _named(client: SyncPrefectClient, name: str) -> list[Automation]:
    return client.read_automations_by_name(name)


def _notice(automation: Automation) -> Notice:
    expected: set[str] = getattr(automation.trigger, "expect", set())
    on = [name for name, events in EVENTS.items() if expected.issuperset(events)]
    return Notice(automation.name, on, automation.description, automation.enabled)
