"""The tie between a stored value and its matches, which lie in another table.

Each match carries a digest of its own cells and of its sample's lineage; each value carries a digest of itself, of the
figures of a second value if there is one (`kline_core.factor.many`), and of the sum of its matches' digests. Two
commits write the two, so a run that is cut off in between, or one that commits at the same time, can leave matches that
are not those of the value beside them. Such a digest does not fit, and the value is computed again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kline_core._hashing import mix64, text_hash
from kline_core.store.schemas import MANY_FIGURES, horizons_of
from kline_core.typing import Flags, Floats64, Hashes, Int64s


def match_digests(matches: pa.Table, history: Hashes) -> Hashes:
    """Digest of each of n matches: uint64 (n,).

    Args:
        matches: Rows of the `matches` table. A forward return that is null was not given, and does not count.
        history: uint64 (n,): lineage of each match's sample.
    """
    symbols = matches["match_symbol"].cast(pa.string()).combine_chunks().dictionary_encode()
    hashes = np.array([text_hash(name) for name in symbols.dictionary.to_pylist()], dtype=np.uint64)
    cells = [
        matches["rank"].to_numpy(),
        hashes[symbols.indices.to_numpy(zero_copy_only=False)] if len(hashes) else np.zeros(0, np.uint64),
        matches["match_end"].cast(pa.int32()).to_numpy(),
        matches["similarity"].to_numpy(),
        matches["weight"].to_numpy(),
        matches["barrier"].to_numpy(),
    ]
    state = mix64(history)
    for cell in cells:
        state = mix64(state ^ _bits(cell))
    for horizon in sorted(horizons_of(matches)):
        column = matches[f"r{horizon}"]
        there = column.is_valid().to_numpy()
        bits = _bits(pc.fill_null(column, 0.0).to_numpy())
        state = np.where(there, mix64(mix64(state ^ np.uint64(horizon)) ^ bits), state)
    return state


def value_digests(values: Floats64, digests: Hashes, sample: Int64s, many: Sequence[Floats64] = ()) -> Hashes:
    """Digest of each of q values with its matches: uint64 (q,).

    Args:
        values: float64 (q,), NaN where the sample failed.
        digests: uint64 (n,): digests of the matches of all samples.
        sample: int64 (n,): position of each match's sample, 0 to q - 1.
        many: float64 (q,) each: figures of a second value, in the order of `MANY_FIGURES`. One that is NaN was not
            given, and does not count.
    """
    sums = np.zeros(len(values), dtype=np.uint64)
    np.add.at(sums, sample, digests)
    state = mix64(sums ^ _bits(values))
    for number, figures in enumerate(many):
        there = ~np.isnan(figures)
        if there.any():
            state[there] = mix64(mix64(state[there] ^ np.uint64(number)) ^ _bits(figures[there]))
    return state


def are_tied(factors: pa.Table, digests: Hashes, sample: Int64s) -> Flags:
    """Whether each of q stored values says which matches are its own, and these are the ones given: bool (q,).

    The arguments are those of `value_digests`, with rows of the `factors` table for the values.
    """
    many = [factors[name].to_numpy().astype(np.float64) for name in MANY_FIGURES]
    ties = value_digests(factors["value"].to_numpy(), digests, sample, many)
    said = factors["match_digest"]
    tied: Flags = said.is_valid().to_numpy() & (pc.fill_null(said, 0).to_numpy().view(np.uint64) == ties)
    return tied


def _bits(cells: NDArray[Any]) -> Hashes:
    if cells.dtype.kind == "f":
        # NaN has many forms of bits.
        return np.where(np.isnan(cells), np.nan, cells).astype(np.float64).view(np.uint64)
    if cells.dtype == np.uint64:
        return cells
    return cells.astype(np.int64).view(np.uint64)
