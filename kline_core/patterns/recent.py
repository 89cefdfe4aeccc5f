"""Vectors of recent windows: usable ones that are no patterns yet, as their outcomes lie ahead.

Every run asks for some of them, and a match by hand for the newest. An update of the patterns encodes them too, and
keeps them in the home's index cache (`kline_core.store.array_folder`), so that a process that only asks loads no
network. A window is encoded once: when its outcome is known, its vector is taken from here.

A vector is found by the hash of the window's bars. It is used only where it would come out the same, bit for bit: with
the same encoder and settings, on the same device and kind of processor, by the same code and versions of torch and ONNX
Runtime. Nothing depends on the file: without it windows are encoded when they are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from kline_core._code import CODE
from kline_core._logging import logger
from kline_core._processor import processor
from kline_core._text import refusal
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.stretches import bars_around, stretches
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.patterns.catalogue import Catalogue
from kline_core.patterns.patterns import wrong_lengths
from kline_core.settings import PatternSettings, pattern_fingerprint
from kline_core.store.array_folder import (
    INDEX_CACHE,
    DamagedArraysError,
    array_folders,
    digest_of,
    put_arrays,
    read_arrays,
    read_description,
)
from kline_core.store.home import Home
from kline_core.typing import Floats32, Hashes, Int64s
from kline_core.windows.windows import usable_in, window_content

if TYPE_CHECKING:
    from kline_core.patterns.update import WindowEncoder

FORMAT: Final = 1
_LOG = logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class RecentVectors:
    """Vectors of m windows by the hash of their bars; read-only."""

    content: Hashes
    """uint64 (m,), ascending: hash of the bars that a window spans."""
    vectors: Floats32
    """float32 (m, d)."""

    @classmethod
    def none(cls) -> Self:
        """No vectors."""
        return cls(np.zeros(0, dtype=np.uint64), np.zeros((0, 0), dtype=np.float32))

    @classmethod
    def of(cls, home: Home, settings: PatternSettings, encoder: str, device: str | None = None) -> Self:
        """Those that a home keeps for settings and an encoder (given by its fingerprint); none if they do not fit.

        `device`: name of the device that is asked for; None for those of any.
        """
        if home.folder is None:
            return cls.none()
        try:
            for folder in _kept(home.folder, settings, encoder):
                described = read_description(folder)
                if described["origin"] != _origin(settings, encoder):
                    continue
                if device is None or device in described["devices"]:
                    arrays = read_arrays(folder)
                    return cls(arrays["content"], arrays["vectors"])
        except OSError:
            # Removed meanwhile.
            return cls.none()
        except (DamagedArraysError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("vectors of recent windows are damaged and made again (%s); no value depends on them", error)
        return cls.none()

    def find(self, content: Hashes) -> Int64s:
        """Position of each window of these hashes, uint64 (n,): int64 (n,), -1 if it is not there."""
        at = np.searchsorted(self.content, content)
        there = at < len(self.content)
        there[there] = self.content[at[there]] == content[there]
        return np.where(there, at, -1).astype(np.int64)


class RecentFirst:
    """A `WindowEncoder` that encodes only windows without a recent vector; see `kline_core.patterns.update`."""

    def __init__(self, encoding: "WindowEncoder", recent: RecentVectors) -> None:
        self._encoding, self._recent = encoding, recent
        self.fingerprint, self.window_bars, self.dim = encoding.fingerprint, encoding.window_bars, encoding.dim
        self.devices = encoding.devices

    def vectors(
        self,
        bars: BarsKey,
        windows: Catalogue,
        settings: PatternSettings,
        progress: Callable[[int], None] | None = None,
    ) -> Floats32:
        """Vectors of windows; see `kline_core.patterns.update.WindowEncoder`."""
        at = self._recent.find(spanned_content(bars.frames(), windows, settings))
        new = np.flatnonzero(at < 0)
        if len(new) == len(windows):
            return self._encoding.vectors(bars, windows, settings, progress)
        vectors = np.empty((len(windows), self._recent.vectors.shape[1]), dtype=np.float32)
        vectors[at >= 0] = self._recent.vectors[at[at >= 0]]
        had = len(windows) - len(new)
        if progress is not None:
            progress(had)
        if len(new):
            told = None if progress is None else lambda encoded: progress(had + encoded)
            vectors[new] = self._encoding.vectors(bars, windows.take(new), settings, told)
        return vectors


def recent_first(home: Home, settings: PatternSettings, encoding: "WindowEncoder") -> "WindowEncoder":
    """An encoder that takes the recent vectors of a home, if they are of a device of its own."""
    for device in encoding.devices[:1]:
        recent = RecentVectors.of(home, settings, encoding.fingerprint, device)
        if len(recent.content):
            return RecentFirst(encoding, recent)
    return encoding


def keep_recent(home: Home, bars: BarsKey, settings: PatternSettings, encoding: "WindowEncoder") -> None:
    """Keep the vectors of the recent windows of these bars; those that the home keeps already are not made again.

    What cannot be written is logged. Raises what `encoding` raises.
    """
    if home.folder is None:
        return
    windows = recent_windows(bars.frames(), settings)
    held = RecentVectors.of(home, settings, encoding.fingerprint)
    # Before the devices are asked for, which loads the network.
    if (held.find(windows.content) >= 0).all() or not encoding.devices:
        return
    vectors = recent_first(home, settings, encoding).vectors(bars, windows, settings)
    if wrong_lengths(vectors).any():
        # An update of the patterns, and a run, refuse it when it is asked for.
        return
    content, first = np.unique(windows.content, return_index=True)
    folder = home.folder / INDEX_CACHE / f"{_prefix(settings, encoding.fingerprint)}{bars.version}"
    described = {"origin": _origin(settings, encoding.fingerprint), "devices": list(encoding.devices)}
    try:
        arrays: dict[str, NDArray[Any]] = {"content": content, "vectors": vectors[first]}
        put_arrays(folder, described, arrays, _kind(settings, encoding.fingerprint))
    except OSError as error:
        _LOG.info("vectors of recent windows were not kept in %s (%s)", folder, refusal(error))


def recent_windows(frames: BarsBySymbol, settings: PatternSettings) -> Catalogue:
    """The usable windows of all symbols whose outcomes are not known yet, symbol by symbol.

    `content` is the hash of the bars that they span, and `known_on` is NaT.
    """
    symbols = sorted(frames)
    count = np.array([len(frames[symbol].dates) for symbol in symbols], dtype=np.int64)
    start = np.maximum(0, count - settings.outcome_bars - settings.span_bars + 1)
    which = np.flatnonzero(count)
    names, asked = [symbols[at] for at in which.tolist()], ("dates", "jumps", "content")
    code, bar, end, content = [], [], [], []
    for part in stretches(frames, names, start[which], count[which], asked):
        at = usable_in(part, settings)
        among, ends = part.find(at)
        own = which[part.asked][among]
        later = ends + settings.outcome_bars >= count[own]
        code.append(own[later].astype(np.int32))
        bar.append(ends[later])
        end.append(part.columns["dates"][at[later]])
        content.append(window_content(part.columns["content"], at[later], 1 - settings.span_bars, 0))
    days = np.concatenate([np.zeros(0, "datetime64[D]"), *end])
    return Catalogue(
        symbols,
        np.concatenate([np.zeros(0, np.int32), *code]),
        np.concatenate([np.zeros(0, np.int64), *bar]),
        days,
        np.full_like(days, np.datetime64("NaT")),
        np.concatenate([np.zeros(0, np.uint64), *content]),
    )


def spanned_content(frames: BarsBySymbol, windows: Catalogue, settings: PatternSettings) -> Hashes:
    """Hash of the bars that each of n windows spans, without those of its outcome: uint64 (n,)."""
    content, before = np.empty(len(windows), dtype=np.uint64), settings.span_bars - 1
    for part in bars_around(frames, windows.symbols, windows.code, windows.bar, before, 0, ("content",)):
        content[part.windows] = window_content(part.columns["content"], part.ends, -before, 0)
    return content


def _origin(settings: PatternSettings, encoder: str) -> dict[str, Any]:
    """All that the bits of a vector depend on but the window and the device."""
    return {
        "format": FORMAT,
        "code": CODE,
        "patterns": pattern_fingerprint(settings, encoder),
        "processor": str(processor()),
        "torch": version("torch"),
        "onnxruntime": _version_if_installed("onnxruntime"),
    }


def _version_if_installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _prefix(settings: PatternSettings, encoder: str) -> str:
    return f"{_kind(settings, encoder)}{digest_of(_origin(settings, encoder))}-"


def _kind(settings: PatternSettings, encoder: str) -> str:
    """How the names of all folders of settings and an encoder begin, whatever else made them."""
    return f"recent-{pattern_fingerprint(settings, encoder)}-"


def _kept(home: Path, settings: PatternSettings, encoder: str) -> list[Path]:
    """Folders of these settings and this encoder, of the newest bars first."""
    prefix = _prefix(settings, encoder)
    names = (name for name in array_folders(home / INDEX_CACHE) if name.startswith(prefix))
    versions = [int(text) for name in names if (text := name.removeprefix(prefix)).isdecimal()]
    return [home / INDEX_CACHE / f"{prefix}{number}" for number in sorted(versions, reverse=True)]
