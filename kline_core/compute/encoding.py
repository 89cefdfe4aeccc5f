"""Windows that are encoded on the workers of a cluster, and the update of the patterns there."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kline_core._logging import listening, logger
from kline_core.bars.bars_cache import BarsKey
from kline_core.compute import tasks
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.encoder.weights import weights_shape
from kline_core.errors import KlineError
from kline_core.patterns.catalogue import Catalogue
from kline_core.patterns.update import LEAST_CACHED, SLICE, PatternsUpdate, update_patterns
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.typing import Floats32, Int32s, Int64s

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster

FEW_WINDOWS = 50_000
"""New patterns that one worker encodes by itself, within some seconds; those of a day are fewer."""
_LOG = logger(__name__)


class ClusterWindowEncoder:
    """A `kline_core.patterns.update.WindowEncoder` on the workers of a cluster.

    Workers load the bars by their key, and receive only which windows to encode.
    """

    def __init__(self, cluster: "Cluster", encoder: EncoderKey) -> None:
        self._cluster, self._encoder = cluster, encoder
        self.fingerprint = encoder.fingerprint
        self.devices = ()
        self.dim, self.window_bars = weights_shape(encoder.path)

    def vectors(
        self,
        bars: BarsKey,
        windows: Catalogue,
        settings: PatternSettings,
        progress: Callable[[int], None] | None = None,
    ) -> Floats32:
        """Vectors of windows, float32 (n, dim * scales); see `kline_core.patterns.update.WindowEncoder`.

        Raises what loading raises, and `SchedulerError`.
        """
        vectors = np.empty((len(windows), self.dim * len(settings.scales)), dtype=np.float32)
        parts = [slice(start, start + SLICE) for start in range(0, len(windows), SLICE)]
        calls = ((bars, self._encoder, settings, *_named(windows, part)) for part in parts)
        for part, encoded in zip(parts, self._cluster.answers_in_order(tasks.encode, calls), strict=True):
            vectors[part] = encoded
            if progress is not None:
                progress(min(part.stop, len(windows)))
        return vectors


def update_on_workers(
    cluster: "Cluster",
    home: Home,
    settings: PatternSettings,
    encoder_path: str | Path | None,
    device: str,
    max_removed_share: float,
) -> PatternsUpdate:
    """Bring the patterns of a home up to date; see `Cluster.update_patterns`."""
    threads = max(1, cluster.threads // max(1, len(cluster.workers)))
    encoder = EncoderKey.of(encoder_path, device)
    report = cluster.call(
        tasks.update, BarsKey.newest(home), settings, encoder, FEW_WINDOWS, threads, max_removed_share
    )
    if report is None:
        report = update_patterns(
            home, settings, ClusterWindowEncoder(cluster, encoder), max_removed_share=max_removed_share
        )
        if report.total >= LEAST_CACHED:
            # By one worker, since only a process itself knows what its vectors' bits depend on.
            try:
                cluster.call(tasks.recent, report.bars, settings, encoder, threads)
            except KlineError as error:
                with listening(cluster.log):
                    _LOG.warning("vectors of recent windows were not kept (%s); no value depends on them", error)
    return report


def _named(windows: Catalogue, part: slice) -> tuple[list[str], Int32s, Int64s]:
    """Arguments of `tasks.encode` for some windows: their symbols, codes into these, and bar ordinals."""
    codes, code = np.unique(windows.code[part], return_inverse=True)
    return [windows.symbols[which] for which in codes], code.astype(np.int32), windows.bar[part]
