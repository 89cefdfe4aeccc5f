"""Which deployments take their bars from a source, asked of a client that remembers what it was told."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.local_stack.source import NONE, checked_source, set_source
from kline_core.errors import InputError, SettingError, SourceError
from kline_core.store.home import Home


class Client:
    """The deployments of prefect.yaml, as a server has them."""

    def __init__(self) -> None:
        self.parameters: dict[str, dict[str, Any]] = {
            "a-share": {"calendar": "XSHG", "home": None, "source": None},
            "us": {"calendar": "XNYS", "home": None, "source": None},
            "manual": {},
        }

    def read_deployments(self, limit: int, offset: int) -> list[Any]:
        found = [SimpleNamespace(id=name, name=name, parameters=given) for name, given in self.parameters.items()]
        return found[offset : offset + limit]

    def update_deployment(self, deployment_id: str, deployment: Any) -> None:
        self.parameters[deployment_id] = deployment.parameters

    @property
    def sources(self) -> list[Any]:
        return [given.get("source") for given in self.parameters.values()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "prefect").mkdir()
    return Home(tmp_path / "home", create=True)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("akshare:csi300", ["akshare:csi300", None, None]),
        ("yfinance:AAPL,MSFT", [None, "yfinance:AAPL,MSFT", None]),
        # Of no market that anything tells.
        ("yfinance:^GSPC", ["yfinance:^GSPC", "yfinance:^GSPC", None]),
        ("/bars", ["/bars", "/bars", None]),
    ],
)
def test_those_of_its_market_take_their_bars_from_it(
    home: Home, tmp_path: Path, source: str, expected: list[str | None]
) -> None:
    client: Any = Client()
    lines = set_source(client, home, tmp_path / "prefect", source)
    assert client.sources == expected
    assert client.parameters["a-share"]["calendar"] == "XSHG"
    assert len(lines) == sum(each is not None for each in expected)
    assert all(line.endswith(f"takes bars from {source}") for line in lines)


def test_a_folder_is_of_the_homes_market(home: Home, tmp_path: Path) -> None:
    home.set_note("market", "CN")
    client: Any = Client()
    set_source(client, home, tmp_path / "prefect", "/bars")
    assert client.sources == ["/bars", None, None]


def test_it_holds_until_another_is_named(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "prefect"
    (tmp_path / "bars").mkdir()
    assert checked_source(None, folder) is None
    assert set_source(None, home, folder, None) == []  # type: ignore[arg-type]
    set_source(Client(), home, folder, checked_source(str(tmp_path / "bars"), folder))  # type: ignore[arg-type]
    # As after an upgrade, which deploys prefect.yaml anew.
    client: Any = Client()
    set_source(client, home, folder, checked_source(None, folder))
    assert client.sources == [str(tmp_path / "bars")] * 2 + [None]
    assert set_source(client, home, folder, checked_source(NONE, folder)) == [
        *("a-share takes bars from no source", "us takes bars from no source")
    ]
    assert client.sources == [None] * 3
    assert checked_source(None, folder) is None


def test_a_folder_is_kept_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bars").mkdir()
    monkeypatch.chdir(tmp_path)
    assert checked_source("bars", tmp_path) == str((tmp_path / "bars").resolve())


def test_a_folder_that_is_kept_may_be_away_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text('{"source": "/away"}')
    assert checked_source(None, tmp_path) == "/away"


@pytest.mark.parametrize(
    ("source", "kind"),
    [("", InputError), ("nowhere", InputError), ("yfinance:csi300", SettingError), ("akshare:csi300", SourceError)],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, kind: type[Exception]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "akshare", None)
    with pytest.raises(kind):
        checked_source(source, tmp_path)
