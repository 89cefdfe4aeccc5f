"""The settings as one field of the forms, without a server."""

from dataclasses import fields
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.utilities.schema_tools import validate

from flows.backfill import backfill
from flows.common.chosen_settings import ChosenSettings, settings_from
from flows.daily import daily
from flows.evaluate import evaluate
from kline_core.settings import MODES, PRESETS, FactorSettings, PatternSettings, Settings

FLOWS = [daily, backfill, evaluate]
NOT_OFFERED = {"allow_seen", "min_recall", "window_bars"}
"""What needs other weights, which no flow takes; and what no value depends on."""


def test_every_setting_that_a_flow_can_vary_is_offered_with_help() -> None:
    names = {field.name for group in (PatternSettings, FactorSettings) for field in fields(group)}
    assert set(ChosenSettings.model_fields) == names - NOT_OFFERED | {"preset"}
    assert all(field.description for field in ChosenSettings.model_fields.values())
    assert ChosenSettings.model_json_schema()["properties"]["preset"]["enum"] == list(PRESETS)
    assert ChosenSettings.model_json_schema()["properties"]["mode"]["enum"] == list(MODES)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, Settings()),
        ({}, Settings()),
        ({"preset": "broad"}, Settings.preset("broad")),
        ({"preset": "broad", "half_life_days": 720}, Settings.preset("broad", half_life_days=720)),
        ({"many": 500}, Settings(factor=FactorSettings(many=500))),
        ({"half_life_days": "none"}, Settings(factor=FactorSettings(half_life_days=None))),
        ({"horizons": [5, 10], "barrier_up": 0.1}, Settings(PatternSettings(horizons=(5, 10), barrier_up=0.1))),
        ({"top_k": 3}, Settings.preset(top_k=3)),
        ({"scales": [1, 5]}, Settings(PatternSettings(scales=(1, 5)))),
        (
            {"scales": [2, 3], "scale_weights": [0.5, 0.5]},
            Settings(PatternSettings(scales=(2, 3), scale_weights=(0.5, 0.5))),
        ),
        ({"mode": "full"}, Settings(factor=FactorSettings.of_mode("full"))),
        ({"mode": "full", "preset": "broad", "rerank_k": 9}, Settings.preset("broad", mode="full", rerank_k=9)),
    ],
)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_what_is_typed_becomes_settings(flow: Any, given: Any, wanted: Settings) -> None:
    assert validate({"settings": given}, flow.parameters.model_dump(), raise_on_error=False) == []
    assert settings_from(flow.validate_parameters({"settings": given})["settings"]) == wanted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"preset": "wide"}, "preset"),
        ({"mode": "slow"}, "mode"),
        ({"scales": [0]}, "scales"),
        ({"scale_weights": [2.0]}, "scale_weights"),
        ({"half_life": 3}, "half_life"),
        ({"half_life_days": 0}, "half_life_days"),
        ({"min_similarity": 2}, "min_similarity"),
        ({"barrier_weight": 1.5}, "barrier_weight"),
        ({"top_k": 0}, "top_k"),
        ({"calendar": "XNOT"}, "calendar"),
    ],
)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_what_is_out_of_bounds_makes_no_run(flow: Any, given: dict[str, Any], words: str) -> None:
    assert validate({"settings": given}, flow.parameters.model_dump(), raise_on_error=False)
    with pytest.raises(ParameterTypeError, match=words):
        flow.validate_parameters({"settings": given})


def test_settings_that_do_not_fit_each_other_are_refused_before_anything_is_done() -> None:
    with pytest.raises(ParameterTypeError, match=r"min_effective_matches is 9\.0; it must be between 1 and top_k"):
        daily.validate_parameters({"settings": {"min_effective_matches": 9}})
    with pytest.raises(ParameterTypeError, match="return_horizon is 5; it must be one of the horizons"):
        daily.validate_parameters({"settings": {"horizons": [1, 10]}})
