"""Folds of a study that are computed on a cluster, and kept in a folder, so that a study that was broken off goes on.

A file is named by what its figures depend on: the state of the home, the samples, the learner, the year, and the code.
It holds a row for each sample of the year (`kline_core.learning.folds.FoldAnswer`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from kline_core._cache import loaded
from kline_core._code import CODE
from kline_core._text import refusal
from kline_core.compute import tasks
from kline_core.compute.kept_folder import kept_folder
from kline_core.errors import SettingError
from kline_core.factor.frame_files import replaced
from kline_core.factor.kernel_means import KernelMeans

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster
    from kline_core.learning.folds import FoldAnswer
    from kline_core.learning.protocol import StudyKey

_MEANS = tuple(field.name for field in fields(KernelMeans))
_ALIKE = "alike"


class KeptFolds:
    """Answers the folds of one study. `folder`: None to keep none."""

    def __init__(self, folder: str | Path | None, key: "StudyKey", cluster: "Cluster") -> None:
        """Make the folder if it is not there. Raises `SettingError` if nothing can be kept in it."""
        self._folder, self._key, self._cluster = None if folder is None else kept_folder(folder, "keep"), key, cluster

    def answers(self, asked: list[tuple[str, int]]) -> "Iterator[FoldAnswer]":
        """What each learner says of each year, in the order asked.

        Raises `SettingError` for a file that is not what was kept, `InputError` for one that cannot be written, and
        `SchedulerError`.
        """
        kept = [self._read(*each) for each in asked]
        missing = [each for each, found in zip(asked, kept, strict=True) if found is None]
        made = self._cluster.answers_in_order(tasks.study_fold, ((self._key, *each) for each in missing))
        for each, found in zip(asked, kept, strict=True):
            if found is None:
                found = next(made)
                self._write(*each, found)
            yield found

    def _path(self, learner: str, year: int) -> Path | None:
        if self._folder is None:
            return None
        state = {name: str(value) for name, value in asdict(self._key).items()}
        text = f"{CODE} {sorted(state.items())} {learner} {year}"
        return self._folder / f"{learner}-{year}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.parquet"

    def _read(self, learner: str, year: int) -> "FoldAnswer | None":
        from kline_core.learning.folds import FoldAnswer

        path = self._path(learner, year)
        if path is None or not path.exists():
            return None
        try:
            kept = pq.read_table(path, columns=[*_MEANS, _ALIKE])
            if any(column.type != pa.float64() or column.null_count for column in kept.columns):
                raise pa.ArrowInvalid("its columns are not numbers")
            wanted = len(loaded(self._key).folds[year].samples)
            if kept.num_rows != wanted:
                raise pa.ArrowInvalid(f"it has {kept.num_rows} rows, and the year {wanted} samples")
        except (OSError, pa.ArrowException, KeyError) as error:
            raise SettingError(
                f"{path} cannot be read ({refusal(error)}); remove it, and the fold is made again",
                parameter="keep",
                value=path,
            ) from error
        means = KernelMeans(**{name: kept[name].to_numpy() for name in _MEANS})
        return FoldAnswer(means, kept[_ALIKE].to_numpy())

    def _write(self, learner: str, year: int, found: "FoldAnswer") -> None:
        path = self._path(learner, year)
        if path is None:
            return
        columns = {name: getattr(found.means, name) for name in _MEANS} | {_ALIKE: found.alike}
        with replaced(path) as waiting:
            pq.write_table(pa.table(columns), waiting)
