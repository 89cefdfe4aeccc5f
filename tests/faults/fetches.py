"""Fetches that are killed: a vendor on loopback, a home that its bars fill, and the kills.

The members of an index change between the day that the home holds and the day of the fetch, so that symbols with and
without stored bars are fetched, and a snapshot of members is stored as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.faults.kills import Kill, commit_kills, random_kills
from tests.faults.story import Place, Undisturbed
from tests.support.homes import write_encoder
from tests.support.vendors import MAINLAND, Vendor, bars_of, lead_baostock, tcp_vendor

FETCH = ("fetch", "index", "run", "maintain")
DAY, DAY_BEFORE = "2024-06-28", "2024-05-28"
_COMMITS = 1 + len(MAINLAND)
"""A snapshot of the members, and a batch of one symbol for each of them."""


@contextmanager
def vendor() -> Iterator[int]:
    """A server that speaks as baostock's, with dividends and a change of members; yields its port."""
    bars = {name: bars_of(name, 90, seed, {40: 1.5, 3: 0.8}) for seed, name in enumerate(MAINLAND)}
    with tcp_vendor(Vendor(bars, members={"2023-01": MAINLAND[:3], "2024-06": MAINLAND[1:]})) as port:
        yield port


def fetch(place: Place, day: str) -> None:
    """Fetch an index, symbol by symbol, in the evening of a day."""
    from kline_core.sources import by_symbol
    from kline_core.sources.fetch import fetch_universe
    from kline_core.store.home import Home

    assert place.vendor is not None
    by_symbol.BATCH = 1
    with pytest.MonkeyPatch.context() as patch:
        lead_baostock(patch, place.vendor)
        now = datetime.fromisoformat(f"{day}T23:00:00+00:00")
        fetch_universe(Home(place.home, create=True), "baostock:csi300", now=now)


def undisturbed(port: int, scratch: Path) -> Undisturbed:
    """A home that was fetched a month before, and what a fetch leaves where nothing disturbs it."""
    place = Place(scratch / "fetched", vendor=port)
    place.folder.mkdir(parents=True)
    write_encoder(place.folder / "weights.safetensors")
    return Undisturbed(place, scratch, ("fetch of the month before", "index", "run"), (FETCH,))


def fetch_kills(undisturbed: Undisturbed, count: int, seed: int) -> Iterator[Kill]:
    """Kills of a fetch: at random moments, and around each of its commits."""
    yield from random_kills(undisturbed, count, seed, first=True)
    yield from (kill for kill in commit_kills((FETCH,), _COMMITS) if kill.at == 0)
