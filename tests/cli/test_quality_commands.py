"""`kline check` and `release` as a person meets them."""

import json

import pytest

from kline_core.api.quality import check
from tests.support.command import ask, refused
from tests.support.homes import make_home
from tests.support.jumps import NAME, bars_with_jump


@pytest.fixture
def home(tmp_path):
    return str(make_home(tmp_path / "home", bars_with_jump()).uri)


@pytest.mark.slow
def test_a_jump_is_shown_released_and_held_again(capsys, home):
    code, out, line = ask(capsys, "--home", home, "check")
    assert (code, line) == (1, "kline: the bars of 3 symbols show 1 problem: 1 x jump")
    assert "unexplained jumps, quarantined" in out
    day = str(check(home).findings["first"].iloc[0])
    code, out, _ = ask(capsys, "--home", home, "release", NAME, day, "--why", "checked by hand")
    assert (code, out.startswith(f"the jump of {NAME} on {day} is released; `kline index`")) == (0, True)
    code, out, _ = ask(capsys, "--home", home, "check", "600519")
    assert (code, "released 20" in out, ": checked by hand" in out) == (0, True, True)
    assert f"released jump {NAME} {day}" in ask(capsys, "--home", home, "notes")[1]
    assert ask(capsys, "--home", home, "release", NAME, day, "--undo")[0] == 0
    code, out, _ = ask(capsys, "--home", home, "--json", "check", "--first", day)
    report = json.loads(out)
    assert (code, report["problems"], report["first"]) == (1, 1, day)
    assert report["findings"][0]["kind"] == "jump"


@pytest.mark.slow
def test_refusals(capsys, home, tmp_path):
    assert "--why is missing" in refused(capsys, "--home", home, "release", NAME, "2020-03-30")
    assert "has no unexplained jump" in refused(capsys, "--home", home, "release", NAME, "2020-03-02", "--why", "x")
    assert "has no bars" in refused(capsys, "--home", home, "check", "NONE")
    assert "does not exist" in refused(capsys, "--home", home, "check", "--against", str(tmp_path / "none"))
    assert "first is '31.12.2019'" in refused(capsys, "--home", home, "check", "--first", "31.12.2019")


def test_another_vendor(capsys, home, tmp_path):
    frame = bars_with_jump().drop(columns=["amount", "suspended", "adj_factor"])
    frame.loc[3, "volume"] *= 2
    frame.to_csv(tmp_path / "other.csv", index=False)
    code, out, _ = ask(capsys, "--home", home, "check", "--against", str(tmp_path / "other.csv"))
    assert code == 1
    assert "360 rows of the other vendor were compared" in out
    assert "volume: 1 of 120 days" in out
