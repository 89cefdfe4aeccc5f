"""The exact scan on a GPU: all products of a block of rows at once, and the best of each query chosen there.

Products are float32 throughout, so that `FlatIndex.score_error` bounds their rounding in whatever order a GPU sums
them. They only propose rows and say what is left out; similarities are computed by the processor, from its own copy of
the vectors. So no value depends on the device, nor on which one it is.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch

from kline_core._logging import one_line
from kline_core.errors import SettingError
from kline_core.typing import Floats32, Floats64, Int64s

_SCORES: Final = 1 << 26
"""Scores of a block: 256 MB of the device's memory, and as much for what is chosen from."""
_PRECISION: Final = threading.Lock()
"""Held while products are made: how many bits they have is a setting of the process."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceScan:
    """An index's vectors in a device's memory; read-only, and safe to share between threads."""

    rows: torch.Tensor
    """float32 (P, d), on the device."""

    @classmethod
    def of(cls, rows: Floats32, device: str) -> Self:
        """Copy vectors, float32 (P, d), to a device that torch knows by name. Raises `SettingError` if that fails."""
        try:
            return cls(_tensor(rows, torch.device(device)))
        except (RuntimeError, AssertionError) as error:
            raise SettingError(
                f"device is {device!r}, to which {len(rows)} vectors ({rows.nbytes / 1e9:.1f} GB) cannot be copied "
                f"({one_line(error)}); use cpu, or one with memory for them",
                parameter="device",
                value=device,
                bound="cpu, or a device with memory for the vectors",
            ) from error

    def followed_by(self, vectors: Floats32, rows: Floats32) -> "DeviceScan":  # noqa: ARG002  as other scans have it
        """The scan of `rows`, of which `vectors` are the last and these the ones before."""
        return DeviceScan(torch.cat([self.rows, _tensor(vectors, self.rows.device)]))

    @property
    def ready(self) -> bool:
        """Whether a single query is better asked here: that was not measured."""
        return False

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `FlatIndex.nearest`."""
        device, asked = self.rows.device, len(known)
        end = int(known[-1]) if asked else 0
        with torch.inference_mode(), _whole_float32():
            queries, limits = _tensor(vectors, device), torch.from_numpy(np.ascontiguousarray(known)).to(device)
            score = torch.full((asked, count), -torch.inf, device=device)
            row = torch.full((asked, count), -1, dtype=torch.int64, device=device)
            step = max(1, _SCORES // max(1, asked))
            for start in range(0, end, step):
                stop = min(start + step, end)
                # Those that see nothing of the block come first.
                left = int(np.searchsorted(known, start, side="right"))
                number = torch.arange(start, stop, device=device)
                products = queries[left:] @ self.rows[start:stop].T
                products.masked_fill_(number[None, :] >= limits[left:, None], -torch.inf)
                more, at = torch.topk(products, min(count, stop - start), dim=1)
                both = torch.cat([score[left:], more], dim=1)
                score[left:], chosen = torch.topk(both, count, dim=1)
                row[left:] = torch.cat([row[left:], at + start], dim=1).gather(1, chosen)
            row.masked_fill_(score == -torch.inf, -1)
            lowest: Floats64 = score.amin(dim=1).cpu().numpy().astype(np.float64) if count else np.full(asked, np.inf)
            rows: Int64s = row.cpu().numpy()
        return rows, np.where(known <= count, -np.inf, lowest)


def _tensor(vectors: Floats32, device: torch.device) -> torch.Tensor:
    # A copy on the processor too, since torch warns of arrays that cannot be written, as an index's are.
    return torch.tensor(vectors, dtype=torch.float32, device=device)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """No products of fewer bits, whatever this process has allowed: the bound of their rounding would not hold."""
    with _PRECISION:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
