"""Values of each year's encoder, read as one series; and their patterns removed together."""

import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest

import kline_core as kl
from kline_core.api.removal import remove_patterns
from kline_core.cli.parser import main
from kline_core.errors import EncoderError, FingerprintError, HomeError, SettingError, StaleError
from kline_core.evaluation.evaluate import tried_settings
from kline_core.maintenance.verify import verify
from kline_core.store.run_records import RUNNING, read_record, write_record
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import make_home
from tests.support.years import FRAME, SEEDS, bench_of, computed, write_years

pytestmark = pytest.mark.slow
NAMED = {"settings": SMALL_SETTINGS}
_STEPS = ["--window-bars", "5", "--horizons", "1,3", "--barrier-bars", "4"]
OPTIONS = [*_STEPS, "--return-horizon", "3", "--isolation-bars", "5"]
"""The same for the command line."""


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    return write_years(tmp_path_factory.mktemp("years") / "years")


@pytest.fixture(scope="module")
def made(tmp_path_factory, years, in_process):
    place = tmp_path_factory.mktemp("home")
    bench = bench_of(place / "home", make_home(place / "bars", FRAME), years)
    # Values of one encoder on all dates, its own and others, which are no part of the series.
    computed(Bench(bench.home, bench.settings, years / "2021.safetensors"), in_process, samples=60)
    return bench, computed(bench, in_process, samples=60)


@pytest.fixture
def copied(made, tmp_path):
    bench, result = made
    return Bench(kl.Home(shutil.copytree(bench.home.folder, tmp_path / "home")), bench.settings, bench.weights), result


def test_values_of_all_years_are_one_series(made, years):
    bench, result = made
    rows = bench.home.read("factors").num_rows
    assert rows > len(result.frame) == 180
    read = kl.read_factor(bench.home, encoder=years, **NAMED)
    assert read.fingerprint == result.fingerprint
    assert read.values.equals(result.values)
    assert read.matches.equals(result.matches)
    assert read.prices.equals(result.prices)
    assert kl.read_factor(bench.home, "S00001", encoder=years, **NAMED).values.index.equals(
        result.values.xs("S00001", level="asset", drop_level=False).index
    )
    found = kl.evaluate(bench.home, encoder=years, details=False, **NAMED)
    assert found.samples == 180
    assert found.values == result.values.notna().sum() > 100
    assert tried_settings(bench.home, result.fingerprint) == 1
    assert "for 2022, and those of each year from 2021 on" in found.text()
    past = kl.history(bench.home, "S00001", encoder=years, **NAMED)
    assert past.rows["value"].tolist() == pytest.approx(result.values.xs("S00001", level="asset").tolist(), nan_ok=True)
    assert verify(bench.home, bench.settings, years).ok


def test_a_year_of_which_nothing_is_stored_is_named(made, years, tmp_path, caplog):
    bench, result = made
    other = write_years(tmp_path / "other", {2021: SEEDS[2021], 2022: 77})
    for read in (
        lambda: kl.read_factor(bench.home, encoder=other, **NAMED).values,
        lambda: kl.evaluate(bench.home, encoder=other, details=False, **NAMED),
        lambda: kl.history(bench.home, "S00001", encoder=other, **NAMED),
    ):
        caplog.clear()
        read()
        assert "no values are stored that the encoder of 2022 made" in caplog.text
    caplog.clear()
    assert len(kl.read_factor(bench.home, encoder=years, **NAMED).values) == len(result.values)
    assert not caplog.text


def test_where_patterns_lag_behind_the_command_names_their_encoder(copied, years):
    bench, _ = copied
    later = FRAME.assign(date=FRAME["date"] + pd.Timedelta(days=476))
    kl.ingest(bench.home, later[later["date"] > FRAME["date"].max()])
    path = re.escape(str(years / "2022.safetensors"))
    with pytest.raises(StaleError, match=rf"lag behind its bars .* run `kline index .*--encoder {path}`"):
        kl.compute_factor(bench.home, samples=20, encoder=years, device="cpu", **NAMED)


def test_the_series_is_compared_with_that_of_one_encoder(made, years):
    bench, _ = made
    other = kl.read_factor(bench.home, encoder=years / "2021.safetensors", **NAMED).fingerprint
    found = kl.compare(bench.home, other, encoder=years, **NAMED)
    assert (found.samples, found.other) == (180, other)
    # Of 2021 they are the same values.
    assert kl.compare(bench.home, other, encoder=years, last="2021-12-31", **NAMED).mean_difference == 0
    assert kl.compare(bench.home, other, encoder=years, first="2022-01-01", **NAMED).mean_difference > 0


def test_a_series_without_values_is_named(made, years):
    bench, _ = made
    full = kl.Settings(bench.settings.patterns, kl.FactorSettings.of_mode("full", return_horizon=3))
    with pytest.raises(FingerprintError, match=r"no values are stored under fingerprint [0-9a-f]{16} for 2022, and"):
        kl.read_factor(bench.home, settings=full, encoder=years)
    with pytest.raises(SettingError, match=r"fingerprint 00 names the values; leave settings and encoder away"):
        kl.read_factor(bench.home, fingerprint="00", encoder=years)


def test_the_command_line_takes_the_folder_wherever_it_takes_an_encoder(copied, years, tmp_path, capsys):
    bench, result = copied
    place = ["--home", bench.home.uri]

    def said(*words):
        assert main([*place, *map(str, words), *OPTIONS, "--encoder", str(years)]) == 0
        return capsys.readouterr().out

    assert main([*place, "index", *_STEPS, "--encoder", str(years), "--device", "cpu"]) == 0
    assert "nothing to add: the 1926 patterns are up to date" in capsys.readouterr().out
    text = said("run", "--samples", "60", "--max-failed-share", "0.5", "--device", "cpu")
    assert "encoders of 2021 to 2022, each for the samples of its year, the last for later ones too" in text
    assert f"0 done + 21 failed + {result.values.notna().sum()} re-used" in text
    assert "180 rows" in said("export", tmp_path / "values.parquet")
    exported = pd.read_parquet(tmp_path / "values.parquet")
    assert exported["value"].equals(result.frame["value"])
    assert "180 values" in said("export", tmp_path / "alphalens", "--format", "alphalens")
    assert "180 samples" in said("evaluate", "--alphalens", tmp_path / "evaluated")
    for folder in ("alphalens", "evaluated"):
        assert pd.read_parquet(tmp_path / folder / "factor.parquet")["factor"].equals(result.values)
    assert "S00002: 60 samples" in said("history", "S00002")
    assert "2021-06-01" in said("match", "S00002", "2021-06-01", "--device", "cpu")
    assert main([*place, "runs"]) == 0
    assert "of 2 encoders" in capsys.readouterr().out
    for words, purpose in ((["plan"], "a plan"), (["baselines"], "a comparison with baselines")):
        assert main([*place, *words, *OPTIONS, "--encoder", str(years)]) == 1
        assert f"years is a folder, and {purpose} takes one encoder" in capsys.readouterr().err
    assert main([*place, "index", *_STEPS, "--encoder", str(years), "--remove"]) == 0
    assert "1926 patterns removed, table patterns, patterns-" in capsys.readouterr().out
    assert bench.home.pattern_tables() == []


def test_patterns_of_all_years_are_removed_or_none(copied, years):
    bench, result = copied
    record = read_record(bench.home, result.report.run_id)
    write_record(bench.home, replace(record, state=RUNNING))
    tables = bench.home.pattern_tables()
    with pytest.raises(HomeError, match=rf"run {record.run_id}, which reads patterns"):
        remove_patterns(bench.home, settings=bench.settings.patterns, encoder=years)
    assert bench.home.pattern_tables() == tables
    write_record(bench.home, record)
    remove_patterns(bench.home, settings=bench.settings.patterns, encoder=years / "2022.safetensors")
    # Of the year that is left.
    assert remove_patterns(bench.home, settings=bench.settings.patterns, encoder=years).table == "patterns"
    with pytest.raises(
        FingerprintError, match=r"no patterns of these settings and encoder \(fingerprint \w{16}, \w{16}\)"
    ):
        remove_patterns(bench.home, settings=bench.settings.patterns, encoder=years)


def test_what_is_odd_in_a_folder_is_said_before_anything_is_done(made, years, tmp_path):
    odd = shutil.copytree(years, tmp_path / "odd")
    (odd / "2022.safetensors").unlink()
    (odd / "2021.safetensors").rename(odd / "2020.safetensors")
    bench, _ = made
    for ask in (
        lambda: kl.update_patterns(bench.home, settings=bench.settings.patterns, encoder=odd),
        lambda: kl.compute_factor(bench.home, encoder=odd, **NAMED),
        lambda: kl.evaluate(bench.home, encoder=odd, **NAMED),
        lambda: kl.verify(bench.home, encoder=odd, **NAMED),
        lambda: remove_patterns(bench.home, encoder=odd),
    ):
        with pytest.raises(EncoderError, match=r"2020.safetensors was trained through 2020-12-31, which is not before"):
            ask()
