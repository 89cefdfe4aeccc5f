"""Settings from what is typed."""

import argparse
from dataclasses import fields

import pytest

from kline_core.cli.options import pattern_settings_from, settings_from
from kline_core.cli.parser import build_parser
from kline_core.settings import FactorSettings, PatternSettings, Settings


def typed(*words: str) -> Settings:
    options: argparse.Namespace = build_parser().parse_args([*words])
    return settings_from(options)


def test_every_setting_is_an_option() -> None:
    names = {field.name for group in (PatternSettings, FactorSettings) for field in fields(group)}
    assert names <= vars(build_parser().parse_args(["run"])).keys()
    assert names - {"min_recall"} <= vars(build_parser().parse_args(["evaluate"])).keys()


@pytest.mark.parametrize("command", [["run"], ["match", "AAPL"], ["evaluate"], ["verify"]])
def test_without_options_they_are_the_default_ones(command: list[str]) -> None:
    assert typed(*command) == Settings()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--preset", "broad"], Settings.preset("broad")),
        (["--preset", "seed"], Settings()),
        (["--preset", "broad", "--half-life", "720"], Settings.preset("broad", half_life_days=720.0)),
        (["--half-life", "720", "--preset", "broad"], Settings.preset("broad", half_life_days=720.0)),
        (["--half-life", "none"], Settings(factor=FactorSettings(half_life_days=None))),
        (["--top-k", "3"], Settings(factor=FactorSettings(top_k=3, min_matches=3))),
        (["--barrier-weight", "0"], Settings(factor=FactorSettings(barrier_weight=0.0))),
        (["--min-similarity", "-0.5"], Settings(factor=FactorSettings(min_similarity=-0.5))),
        (["--min-effective-matches", "2"], Settings(factor=FactorSettings(min_effective_matches=2.0))),
        (["--many", "500"], Settings(factor=FactorSettings(many=500))),
        (["--isolation-bars", "0"], Settings(factor=FactorSettings(isolation_bars=0))),
        (
            ["--horizons", "3,10", "--return-horizon", "10"],
            Settings(PatternSettings(horizons=(3, 10)), FactorSettings(return_horizon=10)),
        ),
        (
            ["--barrier-up", "0.1", "--barrier-down", "0.05", "--barrier-bars", "10", "--entry-lag-bars", "2"],
            Settings(PatternSettings(barrier_up=0.1, barrier_down=0.05, barrier_bars=10, entry_lag_bars=2)),
        ),
        (["--market-relative"], Settings(PatternSettings(market_relative=True))),
        (["--window-bars", "10", "--max-gap-days", "9"], Settings(PatternSettings(window_bars=10, max_gap_days=9))),
    ],
)
def test_each_option_is_its_setting(words: list[str], wanted: Settings) -> None:
    assert typed("run", *words) == wanted
    assert typed("match", "AAPL", *words) == wanted


def test_patterns_are_made_with_horizons_of_which_no_value_is_asked_for() -> None:
    options = build_parser().parse_args(["index", "--horizons", "3,10", "--barrier-up", "0.1"])
    assert pattern_settings_from(options) == PatternSettings(horizons=(3, 10), barrier_up=0.1)
    assert pattern_settings_from(build_parser().parse_args(["index"])) == PatternSettings()


def test_the_check_of_values_asks_the_table_for_its_horizons() -> None:
    assert typed("verify", "--return-horizon", "3").factor == FactorSettings(return_horizon=3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--half-life", "long"], "'long' is neither a number of days nor none"),
        (["--horizons", "1;5"], "'1;5' is no list of bars such as 1,5,10,20"),
        (["--horizons", ""], "'' is no list of bars"),
    ],
)
def test_what_is_no_value_is_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as stop:
        typed("run", *words)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
