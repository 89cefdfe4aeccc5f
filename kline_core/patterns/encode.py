"""Vectors of windows of many symbols: gathers their prices, draws their charts and encodes these.

A window has one chart in each time scale of the settings (`kline_core.windows.prices`). Its vector is made of the
charts' unit vectors v1, v2, ... and the weights w1, w2, ... of their scales, one after the other:

    (sqrt(w1) v1, sqrt(w2) v2, ...)

The weights sum to 1, so that it is a unit vector too, and the inner product of two of them is the weighted mean of the
similarities of their charts, scale by scale. So the search, and all its rules, stay as they are.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from kline_core._threads import single_threaded
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.encoder.encoder_cache import KeptEncoder
from kline_core.patterns.catalogue import Catalogue
from kline_core.patterns.update import SLICE
from kline_core.settings import PatternSettings
from kline_core.typing import Floats32, Int32s, Int64s
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import prices_of_windows

if TYPE_CHECKING:
    from kline_core.encoder.encoder import Encoder

WHOLE: Final = 64
"""A multiple of so many windows is encoded at a time, the batch of the network."""

AnyEncoder: TypeAlias = "Encoder | KeptEncoder"


class LocalWindowEncoder:
    """A `WindowEncoder` that runs in threads of this process; see `kline_core.patterns.update`."""

    def __init__(self, encoder: AnyEncoder, threads: int = 2) -> None:
        self._encoder, self._threads = encoder, threads
        self.fingerprint, self.window_bars, self.dim = encoder.fingerprint, encoder.window_bars, encoder.dim

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of its device; see `kline_core.patterns.update.WindowEncoder`. None of a GPU, of which there are many
        kinds."""
        from kline_core.encoder.encoder import ONNX, choose_device

        encoder = self._encoder.loaded() if isinstance(self._encoder, KeptEncoder) else self._encoder
        if encoder.device_name == ONNX:
            return (ONNX,)
        names = ("cpu", "auto") if choose_device() == encoder.device else ("cpu",)
        return names if encoder.device.type == "cpu" else ()

    def vectors(
        self,
        bars: BarsKey,
        windows: Catalogue,
        settings: PatternSettings,
        progress: Callable[[int], None] | None = None,
    ) -> Floats32:
        """Vectors of windows; see `kline_core.patterns.update.WindowEncoder`."""
        frames, together = bars.frames(), _together(len(windows), self._threads)
        vectors = np.empty((len(windows), self.dim * len(settings.scales)), dtype=np.float32)

        def work(start: int) -> int:
            single_threaded()
            part = slice(start, start + together)
            vectors[part] = encode_windows(
                frames, windows.symbols, windows.code[part], windows.bar[part], self._encoder, settings
            )
            return len(windows.code[part])

        done = 0
        with ThreadPoolExecutor(self._threads, "encode") as pool:
            for count in pool.map(work, range(0, len(windows), together)):
                done += count
                if progress is not None:
                    progress(done)
        return vectors


def _together(windows: int, threads: int) -> int:
    """Windows that a thread encodes at a time: at most `SLICE`, and so many that all threads have as much to do."""
    turns = max(1, -(-windows // (SLICE * threads)))
    each = -(-windows // (turns * threads))
    return min(SLICE, max(1, -(-each // WHOLE)) * WHOLE)


def encode_windows(
    frames: BarsBySymbol,
    symbols: Sequence[str],
    code: Int32s,
    bar: Int64s,
    encoder: AnyEncoder,
    settings: PatternSettings,
) -> Floats32:
    """Vectors of n windows, float32 `(n, dim * scales)`, made in the calling thread.

    Window i is of the symbol `symbols[code[i]]` and ends on its traded bar `bar[i]`. Raises IndexError if a window
    leaves the history.
    """
    prices = (prices_of_windows(frames, symbols, code, bar, encoder.window_bars, scale) for scale in settings.scales)
    return joined_vectors((encoder.encode(render_charts(*each)) for each in prices), settings.weights_of_scales)


def joined_vectors(parts: Iterable[Floats32], weights: Sequence[float]) -> Floats32:
    """Vectors of n windows from those of their charts, float32 `(n, dim)` for each scale: `(n, dim * scales)`."""
    weighted = [part * np.float32(math.sqrt(weight)) for part, weight in zip(parts, weights, strict=True)]
    return weighted[0] if len(weighted) == 1 else np.concatenate(weighted, axis=1)
