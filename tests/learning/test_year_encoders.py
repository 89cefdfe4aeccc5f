"""Encoders by year: each has learned from what was known before it, and scores no day up to then."""

import json

import numpy as np
import pytest

import kline_core as kl
from kline_core.api.study import train_by_year
from kline_core.cli.parser import main
from kline_core.encoder.encoder import Encoder
from kline_core.errors import SettingError
from kline_core.learning import year_encoders
from tests.support.frames import perturbed
from tests.support.made_markets import noise_market
from tests.support.studies import bars_of, home_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return home_of(tmp_path_factory.mktemp("years") / "home", bars_of(noise_market(5, symbols=8, sessions=560)))


def test_a_year_is_taught_once_and_scores_no_day_before_it(home, tmp_path, capsys, monkeypatch):
    words = ["--home", home.uri, "train", "--market", "--out", str(tmp_path / "years")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"each sample by the encoder of its year: kline index --encoder {tmp_path}/years, and kline run" in said
    names = sorted(path.name for path in (tmp_path / "years").iterdir())
    assert names == ["2016.json", "2016.safetensors", "2017.json", "2017.safetensors"]
    card = json.loads((tmp_path / "years" / "2017.json").read_text())
    weights = tmp_path / "years" / "2017.safetensors"
    encoder = Encoder.load(weights, "cpu")
    assert (encoder.dim, encoder.fingerprint) == (3, card["fingerprint"])
    assert encoder.trained_through == np.datetime64("2016-12-31")

    def broken(*_):
        raise AssertionError("what is there is not trained again")

    monkeypatch.setattr(year_encoders, "teach_year", broken)
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kept"] == [2016, 2017]
    assert document["of_earlier_bars"] == []
    # Bars that were corrected since leave it there, and it is named.
    (tmp_path / "years" / "2017.json").write_text(json.dumps(card | {"learned": "0123456789abcdef"}))
    assert main(words) == 0
    kept, earlier = capsys.readouterr().out.splitlines()[2:4]
    assert kept.endswith(" kept")
    assert earlier.endswith(" kept, of earlier bars")

    # Patterns by it, and a sample of before its year, and one of it.
    kl.update_patterns(home, encoder=weights, device="cpu")
    asked = {"M0000": ["2016-12-30", "2017-02-01"]}
    result = kl.compute_factor(home, dates=asked, encoder=weights, device="cpu", max_failed_share=1)
    assert result.frame["status"].tolist() == ["failed", "ok"]
    assert "trained through 2016-12-31" in result.frame["reason"].iloc[0]


@pytest.mark.parametrize(("option", "value"), [("--steps", "200"), ("--seed", "0"), ("--device", "cpu")])
def test_what_a_market_encoder_has_no_use_for_is_refused(home, tmp_path, capsys, option, value):
    words = ["--home", home.uri, "train", "--market", "--out", str(tmp_path / "years"), option, value]
    assert main(words) == 1
    assert (
        f"{option} is {value}, and encoders of --market are all taught alike; leave it away" in capsys.readouterr().err
    )
    assert not (tmp_path / "years").exists()


def test_encoders_that_were_taught_otherwise_are_not_mixed_in(home, tmp_path):
    (tmp_path / "2016.json").write_text('{"learned": "0123456789abcdef"}')
    match = r"2016.safetensors was taught otherwise .* its card says trained_on None, not 'charts of .*name another fol"
    with pytest.raises(SettingError, match=match):
        train_by_year(home, tmp_path)
    (tmp_path / "2016.json").write_text("[]")
    with pytest.raises(SettingError, match=r"2016.json is no card of an encoder of a year"):
        train_by_year(home, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"--out is .*file, which cannot be used .*; name another folder"):
        train_by_year(home, tmp_path / "file")


@pytest.mark.long
def test_another_future_taught_anew_leaves_the_past_as_it_was(tmp_path):
    """The whole path: bars, patterns, an encoder taught for each year, patterns by each, values."""
    cut = np.datetime64("2016-11-15")
    frame = bars_of(noise_market(5, symbols=8, sessions=560)).assign(amount=np.nan, adj_factor=1.0, suspended=False)
    rows, taught = [], []
    for name, bars in (("one", frame), ("other", perturbed(frame, cut, 3))):
        home, folder = home_of(tmp_path / name, bars), tmp_path / f"{name}-years"
        cards = train_by_year(home, folder).cards
        taught.append({year: card["fingerprint"] for year, card in cards.items()})
        kl.update_patterns(home, encoder=folder, device="cpu")
        result = kl.compute_factor(home, encoder=folder, device="cpu", max_failed_share=1)
        assert set(result.report.years) == {2016, 2017}
        past = result.frame[result.frame["date"] <= cut].drop(columns="run_id").reset_index(drop=True)
        assert past["value"].notna().sum() > 100
        matches = result.matches[result.matches["date"] <= cut].drop(columns="run_id").reset_index(drop=True)
        rows.append((past, matches, result.values))
    assert taught[0][2016] == taught[1][2016]
    assert taught[0][2017] != taught[1][2017]
    assert all(mine.equals(others) for mine, others in zip(rows[0][:2], rows[1][:2], strict=True))
    assert not rows[0][2].equals(rows[1][2])
