"""Training of an encoder for each year on the workers of a cluster, into a folder that keeps what is done."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kline_core._text import quoted, refusal, table
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
    earlier: list[int]
    """Those of the kept ones that have learned from other bars than those of today, which were corrected since."""

    def text(self) -> str:
        """The result as text for a terminal."""
        rows = [
            [
                year,
                card["trained_through"],
                card["windows"],
                card["fingerprint"],
                "kept, of earlier bars" if year in self.earlier else "kept" if year in self.kept else "new",
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
            "kept": self.kept,
            "of_earlier_bars": self.earlier,
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

    An encoder that is there stays, also where bars were corrected since it was taught: it has learned what was known
    then, and values stand under it.

    Raises:
        SettingError: The folder cannot be used, holds an encoder of another home or one that was taught otherwise, or
            too little was known before every year.
        InputError: A card cannot be written.
        SchedulerError: As a run.
    """
    from kline_core.learning.folds import taught_horizons
    from kline_core.learning.year_encoders import learned_from, taught_alike, write_year

    years = sorted(loaded.folds)
    loaded.check_long_enough()
    folder = kept_folder(folder, "--out")
    home, settings = key.state.home, key.state.settings
    window_bars, horizons = settings.patterns.window_bars, taught_horizons(settings)
    done = {year: _card(folder, year, taught_alike(home, year, window_bars, horizons)) for year in years}
    cards = {year: card for year, card in done.items() if card is not None}
    kept, missing = list(cards), [year for year in years if year not in cards]
    earlier = [year for year in kept if cards[year]["learned"] != learned_from(loaded, year)]
    for number, found in enumerate(cluster.answers_in_order(tasks.teach_year, ((key, year) for year in missing)), 1):
        weights = year_weights(folder, found.year)
        card = write_year(found, weights, home)
        # After the weights: a year is done once its card is there.
        with replaced(year_card(folder, found.year)) as waiting:
            waiting.write_text(json.dumps(card, indent=2) + "\n")
        cards[found.year] = card
        if progress is not None:
            progress(number, len(missing))
    return YearTraining(str(folder), dict(sorted(cards.items())), kept, earlier)


def _card(folder: Path, year: int, taught: dict[str, Any]) -> dict[str, Any] | None:
    """The card of a year that is done, and was taught as one would be now; None if it is not done."""
    path = year_card(folder, year)
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text())
        said = {name: card.get(name) for name in ("learned", *taught)}
    except (OSError, ValueError, AttributeError) as error:
        raise SettingError(
            f"{path} is no card of an encoder of a year ({refusal(error)}); name another folder",
            parameter="--out",
            value=folder,
        ) from error
    other = [name for name in taught if said[name] != taught[name]]
    if other or said["learned"] is None:
        name = (other or ["learned"])[0]
        raise SettingError(
            f"{year_weights(folder, year)} was taught otherwise than one made now would be: its card says {name} "
            f"{quoted(said[name])}, not {quoted(taught.get(name))}; name another folder",
            parameter="--out",
            value=folder,
        )
    return dict(card)
