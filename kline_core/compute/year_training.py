"""Training of an encoder for each year on the workers of a cluster, into a folder that keeps what is done."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kline_core._text import refusal, table
from kline_core.compute import tasks
from kline_core.compute.kept_folder import kept_folder
from kline_core.encoder.year_folder import year_card, year_weights
from kline_core.errors import SettingError
from kline_core.factor.frame_files import replaced

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster
    from kline_core.learning.protocol import LoadedStudy, StudyKey


@dataclass(frozen=True, slots=True)
class YearTraining:
    """Encoders by year, and which of them were there already."""

    folder: str
    cards: dict[int, dict[str, Any]]
    kept: list[int]

    def text(self) -> str:
        """The result as text for a terminal."""
        rows = [
            [
                year,
                card["trained_through"],
                card["windows"],
                card["fingerprint"],
                "kept" if year in self.kept else "new",
            ]
            for year, card in self.cards.items()
        ]
        return "\n".join(
            [
                table(["for samples of", "trained through", "windows", "fingerprint", ""], rows),
                f"weights and cards in {self.folder}; each sample by the encoder of its year: kline index --encoder "
                f"{self.folder}, and kline run with the same option",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {"folder": self.folder, "encoders": {str(year): card for year, card in self.cards.items()}} | {
            "kept": self.kept
        }


def train_by_year(
    cluster: "Cluster",
    key: "StudyKey",
    loaded: "LoadedStudy",
    folder: str | Path,
    progress: Callable[[int, int], None] | None = None,
) -> YearTraining:
    """Train the encoders of all years that are not in the folder yet; each is written as soon as it is there.

    `progress`: called with the years done and all years.

    Raises:
        SettingError: The folder cannot be used, holds an encoder that has learned from other patterns, or too little
            was known before every year.
        InputError: A card cannot be written.
        SchedulerError: As a run.
    """
    from kline_core.learning.year_encoders import learned_from, write_year

    years = sorted(loaded.folds)
    loaded.check_long_enough()
    folder = kept_folder(folder, "--out")
    cards = {year: card for year in years if (card := _card(folder, year, learned_from(loaded, year))) is not None}
    kept, missing = list(cards), [year for year in years if year not in cards]
    for done, found in enumerate(cluster.answers_in_order(tasks.teach_year, ((key, year) for year in missing)), 1):
        weights = year_weights(folder, found.year)
        card = write_year(found, weights, key.state.home)
        # After the weights: a year is done once its card is there.
        with replaced(year_card(folder, found.year)) as waiting:
            waiting.write_text(json.dumps(card, indent=2) + "\n")
        cards[found.year] = card
        if progress is not None:
            progress(done, len(missing))
    return YearTraining(str(folder), dict(sorted(cards.items())), kept)


def _card(folder: Path, year: int, learned: str) -> dict[str, Any] | None:
    """The card of a year that is done; None if it is not."""
    path = year_card(folder, year)
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text())
        name = card["learned"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"{path} is no card of an encoder of a year ({refusal(error)}); name another folder",
            parameter="--out",
            value=folder,
        ) from error
    if name != learned:
        raise SettingError(
            f"{year_weights(folder, year)} has learned from other patterns than those of today; its values would "
            "not be those of one made now: name another folder",
            parameter="--out",
            value=folder,
        )
    return dict(card)
