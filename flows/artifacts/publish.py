"""Artifacts of a daily run, and the keys and pictures of all flows."""

import base64
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.artifacts.summary import Summary
from flows.common.ending import cancellable
from kline_core.errors import KlineError
from kline_core.factor.stored_values import ranking
from kline_core.plots.factor_plots import values_picture

Draw = Callable[[str, np.datetime64], bytes]


def artifact_key(flow: str, what: str, calendar: str | None) -> str:
    """Key of a series of artifacts: one per flow, market and kind."""
    return "-".join(part.lower() for part in (flow, calendar, what) if part)


def show_picture(png: bytes, key: str, description: str) -> None:
    """Publish a picture inside a Markdown artifact, so that the page needs no network."""
    # No image artifact, since it shows its URL beneath the picture: here the picture again, as text.
    image = base64.b64encode(png).decode("ascii")
    create_markdown_artifact(f"![{description}](data:image/png;base64,{image})", key=key, description=description)


@task(task_run_name="publish summary", cache_policy=NO_CACHE)
@cancellable
def publish(
    summary: Summary, latest: pd.DataFrame, calendar: str | None, pictures: Mapping[str, Draw], horizon: int
) -> None:
    """Publish summary, quality of the bars, ranking, all symbols, and pictures of all values and of the highest one.

    `pictures`: by the key of their artifact, how to draw one of a symbol on a day. `horizon`: of the returns that enter
    the values, in bars.
    """

    def key(what: str) -> str:
        return artifact_key("daily", what, calendar)

    create_markdown_artifact(summary.markdown(), key=key("summary"), description=summary.headline)
    if (quality := summary.bars.quality) is not None:
        create_markdown_artifact(quality.markdown(), key=key("quality"), description=quality.headline)
    create_table_artifact(
        summary.symbol_rows(latest), key=key("symbols"), description="Every symbol of the run, with its newest value"
    )
    ranked = ranking(latest)
    if ranked.empty:
        get_run_logger().warning("no symbol has a value on the newest day, so nothing is ranked or drawn")
        return
    newest = ranked["date"].iloc[0].date()
    rows = ranked.assign(date=str(newest)).rename(columns={"return_mean": "mean outcome"})
    rounded = rows.round({"value": 4, "mean outcome": 4})
    create_table_artifact(
        [{str(name): cell for name, cell in row.items()} for row in rounded.to_dict("records")],
        key=key("ranking"),
        description=f"Highest and lowest values of {newest}; mean outcome: mean {horizon}-bar return of the matches",
    )
    there = latest[latest["date"] == latest["date"].max()]
    picture = values_picture(there["value"].to_numpy(dtype=np.float64), f"Factor values of {newest}")
    show_picture(picture, key("values"), f"Distribution of the values of {newest}")
    first = str(ranked["symbol"].iloc[0])
    for name, draw in pictures.items():
        try:
            png = draw(first, np.datetime64(newest, "D"))
        except KlineError as error:
            get_run_logger().warning("the %s of %s could not be drawn: %s", name, first, error)
        else:
            show_picture(png, key(name), f"{first} on {newest}, the highest value, with its {name}")
