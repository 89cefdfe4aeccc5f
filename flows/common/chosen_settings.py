"""The settings of values as one field of a form: a preset, and what differs from it.

One field, unlike the other parameters: the settings together say which values are meant, and a deployment that changed
one of them by itself would mix two kinds.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.common.parameters import Calendar, Share
from kline_core.errors import SettingError
from kline_core.settings import MOST, Settings

_Count = Annotated[int, Field(ge=1, le=MOST)]
_Horizons = Annotated[list[_Count], Field(min_length=1)]
_Distance = Annotated[float, Field(gt=0)]
_Decay = Annotated[float, Field(gt=0)] | Literal["none"]
_Similarity = Annotated[float, Field(ge=-1, le=1)]


class ChosenSettings(BaseModel):
    """What a value is made with. Empty fields are those of the preset."""

    model_config = ConfigDict(extra="forbid")

    preset: Literal["seed", "broad"] = Field(
        "seed",
        description="seed: five matches, of which one often has most of the weight. broad: fifty matches of any age. "
        "Neither gives a probability.",
    )
    mode: Literal["fast", "full"] = Field(
        "fast",
        description="fast compares vectors alone; full also bars and charts of the best 2,000, and keeps 10 matches.",
    )
    top_k: _Count | None = Field(None, description="Matches per sample.")
    search_k: _Count | None = Field(None, description="Candidates looked at, at most.")
    isolation_bars: Annotated[int, Field(ge=0, le=MOST)] | None = Field(
        None, description="Matches of one symbol lie more than this many bars apart."
    )
    min_matches: _Count | None = Field(None, description="Fewer matches give no value.")
    min_effective_matches: Annotated[float, Field(ge=1)] | None = Field(
        None, description="Fewer effective matches, 1 / sum of squared shares of weight, give no value."
    )
    min_similarity: _Similarity | None = Field(None, description="What is less similar is no match.")
    half_life_days: _Decay | None = Field(
        None, description="Age in days at which a match weighs half; none: every age weighs the same."
    )
    barrier_weight: Share | None = Field(None, description="Weight of the barrier win rate in the value.")
    return_horizon: _Count | None = Field(None, description="Horizon, in bars, of the returns that enter the value.")
    many: Annotated[int, Field(ge=0, le=MOST)] | None = Field(
        None, description="Make a second value too, of so many nearest windows: their mean rank. 0: none."
    )
    horizons: _Horizons | None = Field(None, description="Horizons of the forward returns, in bars.")
    barrier_up: _Distance | None = Field(None, description="Upper barrier, as a fraction of the entry.")
    barrier_down: _Distance | None = Field(None, description="Lower barrier, as a fraction of the entry.")
    barrier_bars: _Count | None = Field(None, description="Bars in which a barrier may be touched.")
    entry_lag_bars: _Count | None = Field(None, description="Bars from the window's end to the entry.")
    max_gap_days: _Count | None = Field(None, description="Longest hole inside a window, in calendar days.")
    pattern_stride: _Count | None = Field(None, description="Every how many sessions' windows are patterns.")
    calendar: Calendar = Field(None, description="Whose sessions pattern_stride counts.")
    scales: _Horizons | None = Field(
        None,
        description="Time scales: traded bars per candle, as 1, 5 and 21 for daily, weekly and monthly charts.",
    )
    scale_weights: Annotated[list[Share], Field(min_length=1)] | None = Field(
        None, description="Weight of each time scale in the similarity; they sum to 1. Usual are 0.6, 0.3 and 0.1."
    )
    allow_jumps: bool | None = Field(None, description="Whether windows may reach across unexplained jumps.")
    market_relative: bool | None = Field(None, description="Whether returns are minus the mean of the home's symbols.")
    index: Literal["exact", "ivf"] | None = Field(None, description="ivf: approximate, for very large histories.")
    probes: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="Lists that ivf looks into.")
    max_price_checks: _Count | None = Field(None, description="Full mode: candidates compared by their bars, at most.")
    rerank_k: _Count | None = Field(None, description="Full mode: the best of them compared by their charts as well.")
    pixel_weight: Share | None = Field(None, description="Full mode: weight of equal pixels in the similarity.")
    edge_weight: Share | None = Field(None, description="Full mode: weight of equal edges in the similarity.")

    def settings(self) -> Settings:
        """The settings. Raises `SettingError`."""
        given: dict[str, Any] = {
            name: value for name, value in self.model_dump(exclude={"preset"}).items() if value is not None
        }
        if given.get("half_life_days") == "none":
            given["half_life_days"] = None
        given |= {name: tuple(given[name]) for name in ("horizons", "scales", "scale_weights") if name in given}
        return Settings.preset(self.preset, **given)

    @model_validator(mode="after")
    def _fit_each_other(self) -> "ChosenSettings":
        try:
            self.settings()
        except SettingError as error:
            raise ValueError(str(error)) from error
        return self


def settings_from(chosen: ChosenSettings | None) -> Settings:
    """The settings of a form's field; the default ones if it is empty."""
    return Settings() if chosen is None else chosen.settings()
