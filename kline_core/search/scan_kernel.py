"""The inner loops of a scan, compiled for this processor when they are first asked for.

LLVM, by way of llvmlite, turns the program of `kline_core.search.scan_code` into machine code in about a tenth of a
second, once in a process for each layout of rows. A call lets go of the interpreter's lock.
"""

import ctypes
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self

import llvmlite.binding as llvm
import numpy as np

from kline_core._processor import left_out
from kline_core.search.scan_code import ARGUMENTS, LOWEST, MOST_SUM, SPARE, scan_code
from kline_core.search.scan_layout import Dots, Layout, Part
from kline_core.typing import Bytes, Floats32, Floats64, Int8s, Int32s, Int64s

_VECTORS: Final = 2
"""Vectors of queries in a panel."""
_ROWS: Final = {16: 8, 8: 4, 4: 8}
"""Rows of a tile by the length of a vector: with what is beside them, they fill the registers.

Measured on an Intel Xeon of the fifth generation, nanoseconds a pair of 32 bytes: fours 0.12 (12 rows 0.12), pairs with
AVX-512 0.20 (12 rows 0.23), pairs with AVX2 0.30 (8 rows 0.41), with SSSE3 0.71; of 64 float32 numbers with AVX2 1.7
(8 rows 1.9)."""
_FEATURES: Final = {
    "avx2": ("avx", "fma", "f16c", "vaes", "vpclmulqdq", "evex512"),
    "avx512f": ("avx512", "avx10", "evex512"),
    "avx512_vnni": ("avx512vnni",),
    "avx_vnni": ("avxvnni",),
}
"""By instruction that may be left out, how the names of what LLVM has to do without begin."""
_PAIRS = 1 << 25
"""Pairs of the first call, some hundredths of a second. After each call a thread waits for the interpreter's lock, 5 ms
where another one holds it; so each is of twice as many as the one before, up to `_LONGER` times as many."""
_LONGER = 4
_BLOCK = 128
"""Rows whose pairs are scored together: of 32 bytes each, 4 KB; of 64 float32 numbers, 32 KB."""

Rows = Floats32 | Bytes
_COMPILED: dict[tuple[Layout, frozenset[str]], "Kernel"] = {}
_COMPILING = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A child has but the thread that forked: it would wait for one that compiles for ever.
    os.register_at_fork(
        before=_COMPILING.acquire, after_in_parent=_COMPILING.release, after_in_child=_COMPILING.release
    )


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """The compiled loops for rows of one layout; safe to be used by several threads at once."""

    layout: Layout
    engine: Any
    """Keeps the machine code alive."""
    call: Any

    @classmethod
    def of(cls, layout: Layout) -> Self:
        """Compile the loops."""
        machine = _machine()
        module = llvm.parse_assembly(scan_code(layout))
        tuning = llvm.create_pipeline_tuning_options(speed_level=3)
        passes = llvm.create_pass_builder(machine, tuning)
        passes.getModulePassManager().run(module, passes)
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        whole = {"start", "stop", "count_of_panels", "count"}
        kinds = [
            ctypes.c_int64 if name in whole else ctypes.c_float if name == "slack" else ctypes.c_void_p
            for name in ARGUMENTS
        ]
        call = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(engine.get_function_address("scan"))
        return cls(layout, engine, call)


def layout(bounds: tuple[Part, ...], scores: tuple[Part, ...], dots: bool = False) -> Layout:
    """What the loops for such rows are compiled for on this processor; see `Layout`.

    `dots`: whether queries are whole numbers too, which `has_dots` has to allow.
    """
    vector = vector_length()
    by = has_dots() if dots else None
    return Layout(bounds, scores, vector, _VECTORS, _ROWS[vector], _BLOCK, by)


def kernel(layout: Layout) -> Kernel:
    """The loops of a layout, compiled if they are not yet."""
    key = layout, left_out()
    if key not in _COMPILED:
        with _COMPILING:
            if key not in _COMPILED:
                _COMPILED[key] = Kernel.of(layout)
    return _COMPILED[key]


class CompiledScan:
    """A scan by loops that are compiled when they are first asked for."""

    __slots__ = ()

    @property
    def layout(self) -> Layout:
        """That of the loops which a search begins with."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether its loops are compiled in this process."""
        return (self.layout, left_out()) in _COMPILED

    def prepare(self) -> None:
        """Compile its loops."""
        kernel(self.layout)


@cache
def may_compile() -> bool:
    """Whether this process may run what it compiles.

    Not where memory that was written may not become executable, as under systemd's `MemoryDenyWriteExecute`: LLVM would
    not notice, and the first call would end the process.
    """
    if sys.platform != "linux":
        return True
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as page:
        held = ctypes.c_char.from_buffer(page)
        address = ctypes.c_void_p(ctypes.addressof(held))
        refused = ctypes.CDLL(None).mprotect(address, ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_EXEC)
        # It cannot be closed as long as its address is held.
        del held
    return bool(refused == 0)


@cache
def _host() -> tuple[str, dict[str, bool]]:
    """Name and features of this processor, as LLVM knows them."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features())


@cache
def _features(without: frozenset[str]) -> dict[str, bool]:
    """What LLVM may use of this processor, which does `without` some instructions."""
    barred = tuple(name for left in without for name in _FEATURES.get(left, ()))
    return {name: has and not name.startswith(barred) for name, has in _host()[1].items()}


def _machine() -> Any:
    name, _ = _host()
    features = ",".join(("+" if has else "-") + feature for feature, has in _features(left_out()).items())
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, opt=3)


def vector_length() -> int:
    """Numbers of 32 bits in a vector of this processor."""
    has = _features(left_out())
    if has.get("avx512f"):
        return 16
    return 8 if has.get("avx2") and has.get("fma") else 4


def has_dots() -> Dots | None:
    """By what this processor multiplies 8-bit numbers in vectors of its full length; None if it cannot."""
    has, vector = _features(left_out()), vector_length()
    if has.get({16: "avx512vnni", 8: "avxvnni"}.get(vector, "")):
        return Dots.FOURS
    return Dots.PAIRS if has.get({16: "avx512bw", 8: "avx2", 4: "ssse3"}[vector]) else None


@dataclass(frozen=True, slots=True, eq=False)
class RowArrays:
    """What the rows of a scan are made of, from row 0 on."""

    first: Rows
    second: Rows

    def check(self, layout: Layout) -> None:
        """Raise ValueError if the arrays do not lie in memory as the loops, which only know addresses, take it."""
        wrong = False
        for part in (*layout.bounds, *layout.scores):
            rows = (self.first, self.second)[part.array]
            kind = np.uint8 if part.codes else np.float32
            wrong |= rows.dtype != kind or rows.shape[1:] != (part.stride,) or not rows.flags.c_contiguous
        if wrong:
            raise ValueError(f"rows do not lie in memory as {layout} says")


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What is found of q queries, call after call.

    There are as many as fill whole panels: before the first come some that see nothing.
    """

    spare: int
    """How many come before the first query."""
    wholes: Floats32
    """float32 (q + spare, w): what scores are made of."""
    limits: Int64s
    """int64 (q + spare,), ascending."""
    scores: Floats32
    """float32 (q + spare, count): heaps, the lowest score first; -inf for none."""
    rows: Int64s
    """int64, shaped alike; -1 for none."""
    words: Int64s
    """int64 (2, n): room."""
    found: Int64s

    @classmethod
    def of(cls, wholes: Floats32, known: Int64s, count: int) -> Self:
        """Nothing is found yet. Arguments as of `FlatIndex.nearest`, but for `wholes`, float32 (q, w)."""
        lanes = _lanes()
        spare = -len(known) % lanes
        size = len(known) + spare
        return cls(
            spare,
            _after(spare, np.asarray(wholes, dtype=np.float32)),
            _after(spare, np.asarray(known, dtype=np.int64)),
            np.full((size, count), -np.inf, dtype=np.float32),
            np.full((size, count), -1, dtype=np.int64),
            # One more, where what is not noted is put; the last tile of a block may reach beyond it.
            np.empty((2, (_BLOCK + max(_ROWS.values())) * size // lanes + 1), dtype=np.int64),
            np.empty(_BLOCK * size + 1, dtype=np.int64),
        )

    @property
    def end(self) -> int:
        """Rows that any query may see."""
        return int(self.limits[-1]) if len(self.limits) else 0

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First and last row of each call."""
        start, step = 0, max(1, _PAIRS // max(1, len(self.limits)) // _BLOCK) * _BLOCK
        most = _LONGER * step
        while start < self.end:
            yield start, min(start + step, self.end)
            start, step = start + step, min(2 * step, most)

    @property
    def lowest(self) -> Floats32:
        """float32 (q,): the lowest of the `count` best scores; -inf where there are fewer rows."""
        return self.scores[self.spare :, 0]

    @property
    def best(self) -> Int64s:
        """int64 (q, count): the best rows, in no order; -1 for none."""
        return self.rows[self.spare :]

    def seeing(self, start: int) -> int:
        """Number of queries that may see the row `start`."""
        return len(self.limits) - int(np.searchsorted(self.limits, start, side="right"))

    def panels(self, vectors: Floats32 | Int8s) -> Floats32 | Int32s:
        """The negatives of queries, (q, terms) or, if whole, (q, 4 * terms), side by side: (panels, terms, lanes)."""
        lanes = _lanes()
        padded = _after(self.spare, -vectors)
        terms = padded if padded.dtype == np.float32 else padded.view(np.int32)
        panels: Floats32 | Int32s = np.ascontiguousarray(
            terms.reshape(len(padded) // lanes, lanes, terms.shape[1]).transpose(0, 2, 1)
        )
        return panels

    def to_beat(self, slack: float) -> Floats32:
        """What sums of float32 numbers start from, float32 (q + spare,); see `scan_code.ARGUMENTS`."""
        beat = to_beat(self.scores[:, 0], slack)
        beat[: self.spare] = np.inf
        return beat

    def whole_to_beat(self, errors: Floats64, steps: Floats64) -> Int32s:
        """The same of whole numbers, int32 (q + spare,), for the `errors` and `steps` of the loops."""
        sums = np.floor((self.scores[:, 0].astype(np.float64) - errors) * steps - SPARE)
        beat: Int32s = np.clip(sums, -MOST_SUM, MOST_SUM).astype(np.int32)
        beat[: self.spare] = MOST_SUM
        return beat

    def spared(self, values: Floats64) -> Floats64:
        """A number of each query, with ones before those of the first: float64 (q + spare,)."""
        return np.concatenate([np.ones(self.spare), values])

    def go(
        self,
        kernel: Kernel,
        arrays: RowArrays,
        panels: Floats32 | Int32s,
        beat: Floats32 | Int32s,
        block: tuple[int, int],
        slack: float = 0.0,
        errors: Floats64 | None = None,
        steps: Floats64 | None = None,
    ) -> int:
        """Scan the rows of a block, first and last; how many pairs were scored in full. Raises as `RowArrays.check`."""
        layout = kernel.layout
        arrays.check(layout)
        room = np.empty((layout.block, layout.terms) if layout.decoded else 0, dtype=np.float32)
        none = np.zeros(0)
        held = (
            *(arrays.first, arrays.second, *block),
            *(panels, beat, self.limits, len(panels), self.wholes, self.scores, self.rows, self.rows.shape[1]),
            *(*self.words, self.found, room),
            *(none if errors is None else errors, none if steps is None else steps, slack),
        )
        call = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in held]
        return int(kernel.call(*call))


def to_beat(scores: Floats32, slack: float) -> Floats32:
    """What a row's bound is above, if the row may be better than a score; float32, shaped like `scores`."""
    return np.maximum(scores, np.float32(LOWEST)) - np.float32(slack)


def _lanes() -> int:
    return vector_length() * _VECTORS


def _after(spare: int, rows: Any) -> Any:
    """A copy of rows with some of zeros before them."""
    whole = np.zeros((spare + len(rows), *rows.shape[1:]), dtype=rows.dtype)
    whole[spare:] = rows
    return whole
