"""The evaluation flow: a report on how well stored values ranked the forward returns."""

from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows.artifacts.advice import leave_advice, settled
from flows.artifacts.publish import show_picture
from flows.artifacts.result_line import name_failure, say_result
from flows.common.artifact_keys import artifact_key
from flows.common.chosen_settings import ChosenSettings, settings_from
from flows.common.context import open_home
from flows.common.ending import answering, cancellable, carried_out
from flows.common.parameters import Cost, Date, HomePlace, Symbols, as_day, symbol_list
from flows.common.session import run_name
from kline_core.api.views import evaluate as evaluated
from kline_core.evaluation.portfolios import COST
from kline_core.evaluation.report import Evaluation
from kline_core.plots.evaluation_plots import decay_figure, reliability_figure
from kline_core.plots.factor_plots import evaluation_picture
from kline_core.plots.style import png


@task(task_run_name="publish evaluation", cache_policy=NO_CACHE)
@cancellable
def publish_evaluation(found: Evaluation) -> None:
    """Publish the report as a page, and its pictures."""
    create_markdown_artifact(found.markdown(), key=artifact_key("evaluate", "report", None), description=found.verdict)
    show_picture(evaluation_picture(found), artifact_key("evaluate", "picture", None), found.verdict)
    if found.details is None:
        return
    decay = png(decay_figure(found.details.decay), palette=True)
    show_picture(decay, artifact_key("evaluate", "decay", None), "Rank IC by distance")
    if found.details.calibration.bins:
        reliability = png(reliability_figure(found.details.calibration), palette=True)
        show_picture(reliability, artifact_key("evaluate", "reliability", None), "Realised win by value")


@flow(
    name="evaluate",
    flow_run_name=run_name,
    on_failure=[leave_advice, name_failure],
    on_crashed=[leave_advice, name_failure],
)
@answering
def evaluate(
    home: HomePlace = None,
    symbols: Symbols = None,
    first: Date = None,
    last: Date = None,
    fingerprint: str | None = None,
    settings: ChosenSettings | None = None,
    cost: Cost = COST,
    encoder: str | None = None,
) -> State[Any]:
    """IC, rank IC, decay, calibration, portfolios and losses of the stored values. Nothing is computed anew.

    Args:
        home: Folder or object-store URL with the tables. Empty: what KLINE_HOME says where the flow runs.
        symbols: Symbols as a list, or one text with commas: AAPL,MSFT or 600519,sz000001. Empty: all symbols
            with values.
        first: First sample date, YYYY-MM-DD. Empty: the first that is stored.
        last: Last sample date, YYYY-MM-DD. Empty: the newest that is stored.
        fingerprint: Which values, where the home holds several kinds. Empty: those of the settings.
        settings: Which values, by a preset and what differs from it: {"preset": "broad", "half_life_days": 720}. Empty:
            the default ones.
        cost: Of what the portfolios buy and of what they sell, as a share of it: 0.001 for ten basis points.
        encoder: With the settings, which values: a file of weights from `kline train`, or a folder from `kline train
            --market`. Empty: those of the weights that come along.
    """
    found = evaluated(
        open_home(home),
        settings=settings_from(settings),
        encoder=encoder,
        fingerprint=fingerprint,
        symbols=symbol_list(symbols),
        first=as_day(first),
        last=as_day(last),
        cost=cost,
    )
    for line in found.text().splitlines():
        get_run_logger().info(line)
    carried_out(publish_evaluation, found)
    state = settled(Completed(message=found.verdict, data=found.to_dict()))
    say_result(found.verdict, state)
    return state
