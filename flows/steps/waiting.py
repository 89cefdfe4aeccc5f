"""What a run says while it waits for bars: an artifact that is kept up to date, and the name of its state."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
from prefect import State, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.states import Running

from flows.common.states import WAITING
from kline_core._logging import one_line
from kline_core._text import abbreviated
from kline_core.bars.arrivals import Arrivals
from kline_core.bars.sessions import TradingDay, time_zone
from kline_core.errors import BarsMissingError, KlineError

Follow = Callable[[str, UUID], None]
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a wait goes on, and when it ends."""

    now: datetime
    looks_left: int
    seconds: float
    """Between two looks."""

    def line(self, zone: ZoneInfo) -> str:
        """Time of the next look and of the last one, in the time zone of the exchange."""
        following = clock(self.now + timedelta(seconds=self.seconds), self.now, zone)
        last = clock(self.now + timedelta(seconds=self.looks_left * self.seconds), self.now, zone)
        return f"next look {following}, gives up {last} ({zone.key})"


class WaitNotice:
    """The notice of one wait for the bars of a session, while it is entered; nothing shows before the first `say`.

    A server that does not answer causes one warning in the log, and does not end the wait.

    Args:
        session: Whose bars are waited for.
        source: Where they should come from; None if by other means.
        key: Of the artifact.
        noun: What is waited for: symbols, or chosen ones.
        follow: Called with what the run does, and with the artifact: when it waits, and when the bars are there.
    """

    def __init__(
        self, session: TradingDay, source: str | None, key: str, noun: str = "symbols", follow: Follow | None = None
    ) -> None:
        self._session, self._where, self._key, self._noun = session, _where(source), key, noun
        self._follow = follow
        self._zone = time_zone(session.calendar)
        self._began = _now()
        self._id: UUID | None = None
        self._silent = False

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell that the wait ended without bars, if it did."""
        if isinstance(error, KlineError):
            self._end(f"gave up at {self._clock()}", str(error))
        elif error is not None:
            self._end(f"ended at {self._clock()}, before the bars had arrived", "The run was stopped while it waited.")

    def say(self, why: KlineError, looks_left: int, seconds: float) -> None:
        """Tell that bars have not arrived, why, how many looks are left, and how many seconds lie between them."""
        outlook = Outlook(_now(), looks_left, seconds).line(self._zone)
        line = f"waiting for {self._what(why)}, {outlook}"
        get_run_logger().info("%s", line)
        first = self._id is None
        self._show(line, [*_missing(why), f"They should come {self._where}.", f"The last look said: {why}"])
        if first:
            self._name_state(Running(name=WAITING, message=line))
            self._tell_of("waits for bars")

    def arrived(self, found: Arrivals) -> None:
        """Tell that the bars are there, if they were waited for."""
        there = f"{found.expected - len(found.missing)} of {found.expected} {found.noun} have a bar of {found.session}"
        if self._end(f"{there} since {self._clock()}", f"The run waited since {self._clock(self._began)}."):
            get_run_logger().info("%s since %s", there, self._clock())
            self._name_state(Running())
            self._tell_of("is at work")

    def _end(self, line: str, more: str) -> bool:
        if self._id is None:
            return False
        self._show(line, [more])
        return True

    def _what(self, why: KlineError) -> str:
        if isinstance(why, BarsMissingError) and why.expected and why.missing is not None:
            return f"{len(why.missing)} of {why.expected} {self._noun}"
        return f"bars of {self._session.day}"

    def _clock(self, moment: datetime | None = None) -> str:
        now = _now()
        return f"{clock(moment or now, now, self._zone)} ({self._zone.key})"

    def _show(self, line: str, more: list[str]) -> None:
        page = "\n\n".join([f"## {line}", *more])

        def show(client: SyncPrefectClient) -> None:
            if self._id is not None:
                client.update_artifact(self._id, ArtifactUpdate(data=page, description=line))
                return
            made: Any = create_markdown_artifact(page, key=self._key, description=line)
            self._id = made

        self._tell(show)

    def _tell_of(self, doing: str) -> None:
        if self._follow is not None and self._id is not None:
            self._follow(doing, self._id)

    def _name_state(self, state: State[Any]) -> None:
        # Not forced: a run that is being cancelled stays so.
        self._tell(lambda client: client.set_flow_run_state(flow_run.id, state))

    def _tell(self, what: Callable[[SyncPrefectClient], object]) -> None:
        try:
            with get_client(sync_client=True) as client:
                what(client)
        except (httpx.HTTPError, PrefectException) as error:
            if not self._silent:
                get_run_logger().warning("the wait cannot be shown (%s); it goes on", one_line(error))
            self._silent = True


def _now() -> datetime:
    return datetime.now(UTC)


def _missing(why: KlineError) -> list[str]:
    if isinstance(why, BarsMissingError) and why.missing:
        return [f"Without a bar of {why.session}: {abbreviated(why.missing, SHOWN)}."]
    return []


def _where(source: str | None) -> str:
    if source is None:
        return "by other means, such as `kline ingest` on this home"
    return f"from `{source}`"


def clock(moment: datetime, now: datetime, zone: ZoneInfo) -> str:
    """The time of day in a time zone, with the day if that is not today's."""
    there, today = moment.astimezone(zone), now.astimezone(zone).date()
    return f"{there:%H:%M}" if there.date() == today else f"{there:%Y-%m-%d %H:%M}"
