"""`kline plan` as a person and a program meet it."""

import json

import pytest

from kline_core.api import plan as planning
from kline_core.cli.parser import main
from tests.support.homes import write_encoder

SMALL = ["--window-bars", "5", "--horizons", "1,5", "--barrier-bars", "4"]


@pytest.fixture
def market(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "PATTERNS", 1_000)
    monkeypatch.delenv("KLINE_HOME", raising=False)
    weights = write_encoder(tmp_path / "weights.safetensors")
    return ["plan", "--symbols", "7", "--years", "2", "--encoder", str(weights), "--device", "cpu", *SMALL]


@pytest.mark.slow
def test_a_market_is_planned_without_a_home(capsys, market, monkeypatch):
    monkeypatch.setenv("KLINE_HOME", "/nowhere")
    assert main([*market, "--json", "--within", "30", "--memory", "8"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["home"] is None
    assert found["counted"]["symbols"] == 7
    assert found["computed"]["may_have_bytes"] == 8e9
    assert [job["name"] for job in found["projected"]] == ["index", "daily", "first", "backfill"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["plan"], "neither a home nor a market is named; give --home FOLDER, or --symbols N and --years Y"),
        (["plan", "--symbols", "5"], "neither a home nor a market is named"),
        (["--home", "h", "plan", "--symbols", "5", "--years", "2"], "--home and --symbols name two markets; give one"),
        (["plan", "--symbols", "5", "--years", "1e400"], "years is inf; it must be above 0 and at most 30"),
        (["plan", "--symbols", "9" * 30, "--years", "2"], "it must be 1 to 1000000"),
        (["--home", "nowhere", "plan"], "nowhere"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(capsys, monkeypatch, tmp_path, words, says):
    monkeypatch.delenv("KLINE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
