"""What to call similar, learned walk-forward, beside the seed factor and simple methods."""

import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kline_core.api.data import as_home, check_settings
from kline_core.dates import optional_date
from kline_core.errors import SettingError
from kline_core.settings import Settings
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.compute.standing import SchedulerAt
    from kline_core.compute.year_training import YearTraining
    from kline_core.learning.report import Study


def study(
    home: Home | str | Path,
    *,
    every: int = 1,
    first: str | datetime.date | np.datetime64 | None = None,
    last: str | datetime.date | np.datetime64 | None = None,
    learners: str | Iterable[str] | None = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    keep: str | Path | None = None,
    scheduler: "SchedulerAt | None" = None,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> "Study":
    """Teach metrics walk-forward what followed windows, and judge the factor that they make.

    Brings the patterns up to date first. Nothing is stored in the home but these.

    .. warning::
        A study that is run again with other settings until it shows something shows nothing. Fix them before.

    Args:
        home: A home, or the folder or URL of one.
        every: Sessions from one sample of a symbol to the next.
        first: First sample date; None for the first session.
        last: Last sample date; None for the last session.
        learners: Names of learners (``bars``, ``charts``, ``volume_charts``, ``leaves``), in the order of
            preference; None for all.
        settings: What a pattern is; horizon of the return that is judged.
        keep: Folder for the answers of the folds, so that a study that was broken off goes on; None to keep none.
        scheduler: Address or client of a standing cluster; None for threads of this process.
        threads: Threads of this process; None for one per core.
        progress: Called with what is done next.

    Returns:
        The study: ``.verdict`` (one sentence), ``.rows``, ``.text()``, ``.markdown()``.

    Raises:
        SettingError: A learner is not known or lacks its library, `every` is no positive whole number, the history is
            too short, or `keep` cannot be used.
        InputError, DateError: The home has no bars, or no session from `first` to `last`.
        StaleError, EncoderError, SchedulerError: As for `compute_factor`.

    Examples:
        >>> found = kl.study(home, every=20, first="2012-06-01", learners=["bars"])
        >>> found.rows[0].name, sorted(found.chosen.values())[0]
        ('learned', 'bars')
    """
    from kline_core._cache import loaded
    from kline_core.compute.kept_folds import KeptFolds
    from kline_core.compute.opening import open_cluster
    from kline_core.factor.state_key import StateKey
    from kline_core.learning.learners import LEARNERS
    from kline_core.learning.protocol import StudyKey
    from kline_core.learning.study import checked_learners
    from kline_core.learning.study import study as run_study

    check_settings(settings, Settings)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise SettingError(
            f"every is {every!r}; it must be a whole number of at least 1", parameter="every", value=every, bound=">= 1"
        )
    names = checked_learners(LEARNERS if learners is None else [learners] if isinstance(learners, str) else learners)
    store = as_home(home)
    with open_cluster(scheduler, threads) as cluster:
        updated = cluster.update_patterns(store, settings.patterns)
        state = StateKey.of_update(updated, settings)
        key = StudyKey(state, every, optional_date(first, "first"), optional_date(last, "last"))
        folds = KeptFolds(keep, key, cluster)
        return run_study(loaded(key), folds.answers, names, progress=progress)


def train_by_year(
    home: Home | str | Path,
    folder: str | Path,
    *,
    settings: Settings = Settings(),  # noqa: B008  immutable
    scheduler: "SchedulerAt | None" = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "YearTraining":
    """Teach the default encoder what followed the windows of a home, once for each year, by what was known before it.

    Brings the patterns up to date first. A training that was broken off goes on where it was.

    Args:
        home: A home, or the folder or URL of one.
        folder: Folder for weights and cards, named by their year.
        settings: What a pattern is.
        scheduler: Address or client of a standing cluster, whose workers train a year each; None for threads of this
            process.
        threads: Threads of this process; None for one per core.
        progress: Called with the years that are done and all that were missing.

    Raises:
        SettingError: The history is too short, or the folder cannot be used or holds encoders of other patterns.
        StaleError, EncoderError, SchedulerError: As for `compute_factor`.
    """
    from kline_core._cache import loaded
    from kline_core.compute.opening import open_cluster
    from kline_core.compute.year_training import train_by_year as train
    from kline_core.factor.state_key import StateKey
    from kline_core.learning.protocol import StudyKey

    check_settings(settings, Settings)
    store = as_home(home)
    with open_cluster(scheduler, threads) as cluster:
        updated = cluster.update_patterns(store, settings.patterns)
        key = StudyKey(StateKey.of_update(updated, settings))
        return train(cluster, key, loaded(key), folder, progress)
