"""Vectors that lie in a file and are mapped into memory, with those that came since: read where they are asked for.

What was read does not stay in the process's memory: its pages are let go after each reading. The system keeps them in
its own as long as there is room.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kline_core._growing import followed_by
from kline_core.store.mapping import release
from kline_core.typing import Floats32, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class MappedVectors:
    """Vectors float32 (P, d), read-only; safe to share between threads."""

    mapped: Floats32
    """The first ones, as a view of what `kline_core.store.mapping.map_file` mapped."""
    later: Floats32
    """The others, in memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """(P, d)"""
        return len(self), int(self.mapped.shape[1])

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """float32"""
        return self.mapped.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all vectors, wherever they are."""
        return int(self.mapped.nbytes + self.later.nbytes)

    @property
    def parts(self) -> list[Floats32]:
        """The vectors, in parts one after the other."""
        return [self.mapped, self.later]

    def __len__(self) -> int:
        """Number of vectors P."""
        return len(self.mapped) + len(self.later)

    def __getitem__(self, at: Int64s | slice) -> Floats32:
        """Vectors at positions of one axis, or in a slice, as NumPy counts them; in memory, (n, d)."""
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step == 1:
                return self._between(start, stop)
            at = np.arange(start, stop, step, dtype=np.int64)
        at = np.where(at < 0, at + len(self), at)
        found = np.empty((len(at), self.shape[1]), dtype=np.float32)
        # In the order of the file, as disks read it.
        order = np.argsort(at, kind="stable")
        last = int(np.searchsorted(at[order], len(self.mapped)))
        found[order[:last]] = self.mapped[at[order[:last]]]
        found[order[last:]] = self.later[at[order[last:]] - len(self.mapped)]
        release(self.mapped)
        return found

    def _between(self, start: int, stop: int) -> Floats32:
        had = len(self.mapped)
        if start >= had:
            return self.later[start - had : max(stop - had, 0)]
        found = np.concatenate([self.mapped[start:stop], self.later[: max(stop - had, 0)]])
        release(self.mapped)
        return found

    def followed_by(self, vectors: Floats32) -> "MappedVectors":
        """These vectors and then others, float32 (n, d)."""
        return MappedVectors(self.mapped, followed_by(self.later, vectors))


Vectors: TypeAlias = Floats32 | MappedVectors
"""Vectors in memory, or mapped."""
