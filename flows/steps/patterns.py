"""The step that brings patterns up to date with the bars, on the cluster."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.common.ending import cancellable
from kline_core._logging import listening
from kline_core.api.data import update_patterns
from kline_core.compute.cluster import Cluster
from kline_core.patterns.update import PatternsUpdate
from kline_core.settings import PatternSettings
from kline_core.store.home import Home


@task(task_run_name="extend patterns", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE)
@cancellable
def update(home: Home, cluster: Cluster, settings: PatternSettings, encoder: str | None = None) -> PatternsUpdate:
    """Bring the patterns of some settings and encoder up to date with `bars`, as `kline index` does.

    If two flow runs do so at the same time, the slower one fails; its retry finds the work done.
    """
    logger = get_run_logger()
    with listening(logger.log):
        report = update_patterns(home, settings=settings, encoder=encoder, cluster=cluster)
    logger.info("%d patterns added, %d removed, %d in all", report.added, report.removed, report.total)
    return report
