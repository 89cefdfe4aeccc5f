"""Products of a tile, some rows by some queries, as a part of a program of LLVM.

A vector of the processor holds one number, or four of 8 bits, of several queries; a row's is repeated in all of
another one. All sums of a tile stay in registers. They are made

* of float32 numbers, one by one;
* of bytes in fours, by one instruction that adds four products to a sum of 32 bits (`Dots.FOURS`); or
* of bytes in pairs (`Dots.PAIRS`): an instruction that x86-64 processors have had for fifteen years and more adds two
  products in 16 bits, a third as long as float32 ones take. Two such sums stand for a query's four numbers; each is of
  eight products (`TERMS_OF_PAIRS`) before both are added to the sum of 32 bits. 16 bits hold these, as the whole
  numbers of a query are made small enough (`MOST_OF_PAIRS`).
"""

from typing import Final

from llvmlite import ir

from kline_core.search.program_builder import BYTE, FLOAT, INT, LONG, SHORT, ProgramBuilder, Value
from kline_core.search.scan_layout import TERMS_OF_PAIRS, Dots, Layout

_PAIRS: Final = {
    16: ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
    8: ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
    4: ("llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd"),
}
"""By the length of a vector: what adds two products of bytes in 16 bits, and two of 16 bits in 32."""


class TileCode(ProgramBuilder):
    """Products of the tiles of one function, whose layout is `layout`."""

    layout: Layout

    @property
    def number(self) -> Value:
        """The kind of a sum."""
        return INT if self.layout.dots else FLOAT

    @property
    def vector(self) -> ir.VectorType:
        """The kind of sums side by side."""
        return ir.VectorType(self.number, self.layout.vector)

    def multiply(self, panels: Value, panel: Value, sources: list[Value], sums: list[list[Value]]) -> None:
        """Add the products of rows and a panel of queries to variables: `sums[row][vector of queries]`."""
        terms = LONG(self.layout.terms)
        first = self.row(panels, self.b.mul(panel, terms), self.layout.lanes)
        if self.layout.dots is Dots.PAIRS:
            with self.loop(LONG(0), terms, TERMS_OF_PAIRS) as term:
                self._add_pairs(first, term, sources, sums)
            return
        with self.loop(LONG(0), terms) as term:
            queries = self._queries(first, term)
            for source, own in zip(sources, sums, strict=True):
                value = self.repeat(self.read(source, term), self.vector)
                for query, place in zip(queries, own, strict=True):
                    self.b.store(self._added(query, value, self.b.load(place)), place)

    def _queries(self, first: Value, term: Value) -> list[Value]:
        """What a term meets of the queries of the panel that begins there."""
        at = self.b.mul(term, LONG(self.layout.lanes))
        return [
            self.read_vector(self.vector, first, self.b.add(at, LONG(self.layout.vector * number)))
            for number in range(self.layout.vectors)
        ]

    def _added(self, query: Value, value: Value, so_far: Value) -> Value:
        size = self.layout.vector
        if not self.layout.dots:
            return self.b.call(self.intrinsic(f"llvm.fmuladd.v{size}f32"), [query, value, so_far])
        dots = self.intrinsic(f"llvm.x86.avx512.vpdpbusd.{32 * size}")
        return self.b.call(dots, [so_far, self._bytes(value), self._bytes(query)])

    def _add_pairs(self, panel: Value, first: Value, sources: list[Value], sums: list[list[Value]]) -> None:
        """Add the products of the `TERMS_OF_PAIRS` terms from `first` on."""
        b = self.b
        pairs, both = (self.intrinsic(name) for name in _PAIRS[self.layout.vector])
        halves: list[list[Value]] = [[] for _ in sources]
        for number in range(TERMS_OF_PAIRS):
            term = b.add(first, LONG(number))
            queries = [self._bytes(query) for query in self._queries(panel, term)]
            for own, source in zip(halves, sources, strict=True):
                value = self._bytes(self.repeat(self.read(source, term), self.vector))
                products = [b.call(pairs, [value, query]) for query in queries]
                own[:] = products if number == 0 else map(b.add, own, products)
        kind = ir.VectorType(SHORT, 2 * self.layout.vector)
        ones = ir.Constant(kind, [SHORT(1)] * kind.count)
        for own, places in zip(halves, sums, strict=True):
            for half, place in zip(own, places, strict=True):
                b.store(b.add(b.load(place), b.call(both, [half, ones])), place)

    def _bytes(self, value: Value) -> Value:
        return self.b.bitcast(value, ir.VectorType(BYTE, 4 * self.layout.vector))

    def below(self, sums: list[list[Value]]) -> Value:
        """A bit for each sum of some rows that is below 0, as one whole number of 64 bits."""
        b, none = self.b, ir.Constant(self.vector, [self.number(0)] * self.layout.vector)
        flags = [
            b.icmp_signed("<", b.load(place), none) if self.layout.dots else b.fcmp_ordered("<", b.load(place), none)
            for own in sums
            for place in own
        ]
        while len(flags) > 1:
            size = 2 * flags[0].type.count
            order = ir.Constant(ir.VectorType(INT, size), list(range(size)))
            flags = [b.shuffle_vector(*flags[first : first + 2], order) for first in range(0, len(flags), 2)]
        (all_flags,) = flags
        bits = b.bitcast(all_flags, ir.IntType(all_flags.type.count))
        return bits if bits.type == LONG else b.zext(bits, LONG)
