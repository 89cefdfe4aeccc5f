"""Vendors on loopback, and the real clients led to them."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from kline_core.sources import line
from kline_core.sources.fetch import fetch_universe
from kline_core.sources.fetch_report import FetchReport
from kline_core.store.home import Home
from tests.support.vendors import MAINLAND, NOW, TOKEN, US, Vendor, bars_of, led


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without pauses, and the token that the vendor here takes."""
    monkeypatch.setattr(line, "FIRST_WAIT", 0.0)
    monkeypatch.setenv("TUSHARE_TOKEN", TOKEN)


@pytest.fixture
def vendor() -> Vendor:
    """Mainland shares with a dividend 40 sessions and one 3 sessions ago, and US shares alike."""
    paid = {40: 1.5, 3: 0.8}
    bars = {name: bars_of(name, 120, seed, paid) for seed, name in enumerate([*MAINLAND, *US])}
    return Vendor(bars, members={"2023-01": MAINLAND[:3], "2024-03": MAINLAND[1:]})


@pytest.fixture
def lead(vendor: Vendor, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Leads the clients of sources to the vendor, by their names; skips the test where one is missing."""
    with pytest.MonkeyPatch.context() as patch, led(patch, vendor, tmp_path / "cache") as begin:
        yield begin


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", create=True)


@pytest.fixture
def fetch(vendor: Vendor, home: Home) -> Callable[..., FetchReport]:
    """A fetch on a day, in whose evening, at UTC, every exchange here is closed; the vendor has no later bars."""

    def ask(text: str, day: str | None = None, **options: object) -> FetchReport:
        now = NOW
        if day is not None:
            vendor.until = np.datetime64(day, "D")
            now = datetime.fromisoformat(f"{day}T23:00:00+00:00")
        into = options.pop("home", home)
        return fetch_universe(into, text, now=now, **options)  # type: ignore[arg-type]

    return ask
