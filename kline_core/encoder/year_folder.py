"""A folder with an encoder for each year, as `kline train --market` writes it; no other module knows its layout.

`2021.safetensors` holds the weights for samples of 2021, and `2021.json` their card. A sample is scored by the encoder
of its year. Dates after the last year are scored by the newest encoder, until that of their year is there. Dates before
the first year are left to the first encoder, which refuses them, since it was trained through the day before its year.

Other files in the folder do no harm. What may mix up years does, and is refused, by name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from kline_core._text import quoted, refusal
from kline_core.by_year import Fingerprint, YearFingerprints, year_of
from kline_core.encoder.weights import WeightsFile, WeightsHeader, weights_fingerprint, weights_path
from kline_core.errors import EncoderError
from kline_core.settings import Settings

_WEIGHTS: Final = ".safetensors"
_CARD: Final = ".json"
_YEAR: Final = re.compile("[0-9]{4}")


def year_weights(folder: Path, year: int) -> Path:
    """File of the weights for a year."""
    return folder / f"{year:04d}{_WEIGHTS}"


def year_card(folder: Path, year: int) -> Path:
    """File of the card of these weights."""
    return folder / f"{year:04d}{_CARD}"


@dataclass(frozen=True, slots=True)
class YearFolder:
    """The encoders of a folder, by year."""

    folder: Path
    """Absolute."""
    fingerprints: dict[int, str]
    """Fingerprint of each year's weights, years ascending."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The encoders that a folder holds now.

        Raises:
            EncoderError: There are none, a year between the first and the last is missing, weights are named by no
                year, cannot be read, have seen a day of their year or are those of two years, the weights of a card are
                missing or others, or encoders differ in the length of their vectors or the bars of their windows.
        """
        folder = weights_path(path)
        try:
            names = sorted(each.name for each in folder.iterdir())
        except OSError as error:
            raise EncoderError(
                f"encoders {folder} cannot be listed ({refusal(error)}); name a folder that `kline train --market` "
                "wrote",
                path=str(folder),
            ) from error
        years = _years(folder, names)
        found: dict[int, tuple[str, WeightsHeader]] = {}
        for year in years:
            file = WeightsFile.read(year_weights(folder, year))
            found[year] = file.fingerprint, _checked(file, year, found)
            if year_card(folder, year).name in names:
                _check_card(year_card(folder, year), file)
        return cls(folder, {year: fingerprint for year, (fingerprint, _) in found.items()})

    @classmethod
    def of(cls, encoder: str | Path | None) -> Self | None:
        """The encoders of the folder that is named; None if the default encoder or a file is. Raises as `read`."""
        return None if encoder is None or not _is_folder(encoder) else cls.read(encoder)

    def weights(self, year: int) -> Path:
        """File of the weights for a year."""
        return year_weights(self.folder, year)

    def on(self, date: np.datetime64) -> Path:
        """File of the weights that score a date, datetime64[D]."""
        return self.weights(year_of(date, self.fingerprints))

    def values(self, settings: Settings) -> YearFingerprints:
        """What the values of some settings are stored under."""
        found = ((year, settings.fingerprint(each)) for year, each in self.fingerprints.items())
        return YearFingerprints(tuple(found))


def stored_under(settings: Settings, encoder: str | Path | None) -> Fingerprint:
    """What the values of settings and an encoder, or a folder with one for each year, are stored under.

    Raises `EncoderError` if the weights cannot be read, and as `YearFolder.read`.
    """
    folder = YearFolder.of(encoder)
    return settings.fingerprint(weights_fingerprint(encoder)) if folder is None else folder.values(settings)


def one_encoder(encoder: str | Path | None, purpose: str) -> str | Path | None:
    """The same encoder. Raises `EncoderError` if it is a folder, where one encoder is needed for a purpose."""
    if encoder is not None and _is_folder(encoder):
        raise EncoderError(
            f"encoder {encoder} is a folder, and {purpose} takes one encoder; name one of its files", path=str(encoder)
        )
    return encoder


def _is_folder(path: str | Path) -> bool:
    try:
        return weights_path(path).is_dir()
    except OSError:
        # A name that is too long, which is said where it is read as a file.
        return False


def _years(folder: Path, names: list[str]) -> list[int]:
    """Years that have weights, ascending, without a gap."""

    def refused(name: str, why: str) -> EncoderError:
        return EncoderError(f"{folder / name} {why}", path=str(folder / name))

    weights = [name.removesuffix(_WEIGHTS) for name in names if name.endswith(_WEIGHTS) and not name.startswith(".")]
    for name in weights:
        if not _YEAR.fullmatch(name):
            raise refused(
                f"{name}{_WEIGHTS}", f"is named by no year, as {folder} has them: 2021{_WEIGHTS}; keep it elsewhere"
            )
    if not weights:
        raise EncoderError(
            f"folder {folder} holds no encoder of a year, such as 2021{_WEIGHTS}; make some with `kline train --market "
            f"--out {folder}`, or name a file",
            path=str(folder),
        )
    years = sorted(map(int, weights))
    for year in range(years[0], years[-1]):
        if year not in years:
            raise refused(
                year_weights(folder, year).name,
                f"is missing, and there are {years[0]} to {years[-1]}; make it with `kline train --market --out "
                f"{folder}`",
            )
    for name in (each.removesuffix(_CARD) for each in names if each.endswith(_CARD)):
        if _YEAR.fullmatch(name) and int(name) not in years:
            raise refused(
                f"{name}{_CARD}", f"is the card of weights that are not there; put {name}{_WEIGHTS} back, or remove it"
            )
    return years


def _checked(file: WeightsFile, year: int, earlier: dict[int, tuple[str, WeightsHeader]]) -> WeightsHeader:
    """Header of the weights for a year, after those of earlier years."""

    def refused(why: str) -> EncoderError:
        return EncoderError(f"{file.path} {why}", path=str(file.path))

    header = file.header()
    through = header.trained_through
    if through is not None and through >= np.datetime64(f"{year:04d}-01-01", "D"):
        raise EncoderError(
            f"{file.path} was trained through {through}, which is not before {year}; name it by a later year, or train "
            "it again",
            path=str(file.path),
            trained_through=through,
        )
    for other, (fingerprint, shape) in earlier.items():
        if fingerprint == file.fingerprint:
            raise refused(f"holds the weights of {other}; train it again")
        for name, of_other, own in (
            ("dim", shape.dim, header.dim),
            ("window_bars", shape.window_bars, header.window_bars),
        ):
            if own != of_other:
                raise refused(f"has {name} {own}, and that of {other} {of_other}; train them alike")
    return header


def _check_card(card: Path, file: WeightsFile) -> None:
    def refused(why: str) -> EncoderError:
        return EncoderError(f"{card} {why}; put back what `kline train --market` wrote, or remove it", path=str(card))

    try:
        # Asked before it is opened: a pipe would wait for a writer.
        said = json.loads(card.read_text()) if card.is_file() else None
    except (OSError, ValueError, RecursionError) as error:
        raise refused(f"cannot be read ({refusal(error)})") from error
    if not isinstance(said, dict) or said.get("fingerprint") != file.fingerprint:
        named = said.get("fingerprint") if isinstance(said, dict) else said
        raise refused(f"is the card of fingerprint {quoted(named)}, and {file.path.name} has {file.fingerprint}")
