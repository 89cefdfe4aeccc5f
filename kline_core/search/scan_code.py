"""The inner loops of a scan as a program of LLVM, written for rows that lie in memory in one certain way.

NumPy writes all products of a block into memory, reads them again to compare them, and a third time to find those that
are above what is to be beaten. Here a product stays in registers: of some rows and some queries, which make a tile, all
products are made at once and compared, and nothing is written but the few pairs that pass.

1. Rows are taken in blocks. Queries lie side by side in panels, `Layout.lanes` each, so that a vector of the
   processor holds one number of several queries; a row's number is repeated in all of another one.
2. The products of a tile are taken from what its queries have to beat. A bit tells of each pair whether it is below 0,
   which it is if it passes; the words of bits that are not all zeros are noted down.
3. After a block the pairs of these words are noted down, unless the query may not see the row, and each is scored in
   full. Where the score is above the query's lowest, it takes its
   place in the query's heap, whose lowest score is first, and the query has more to beat from then on.

The order of sums, and whether a product and a sum are rounded once or twice, are the processor's. The bounds of the
scans hold for any.
"""

from typing import Final

from llvmlite import ir

from kline_core.search.program_builder import BIT, BYTE, DOUBLE, FLOAT, INT, LONG, Value
from kline_core.search.scan_layout import OFFSET, Layout, Part
from kline_core.search.tile_code import TileCode

LOWEST: Final = -3.0
"""Below every score."""
MOST_SUM: Final = 1e9
"""Above every sum of whole numbers, and within 32 bits; its negative is below every one."""
SPARE: Final = 1e-3
"""More than what is to be beaten can be off by its rounding, in steps of whole numbers."""


ARGUMENTS: Final = (
    *("first", "second", "start", "stop", "panels", "beat", "limits", "count_of_panels"),
    *("queries", "scores", "rows", "count", "words", "places", "found", "room", "errors", "steps", "slack"),
)
"""What the program `scan` takes, in this order. All but the whole numbers and `slack` are addresses:

    first, second    arrays of rows, from row 0 on
    start, stop      the rows to be scanned
    panels           float32 or, with `dots`, 4 x int8 (panels, terms, lanes): the negatives of queries
    beat             float32 or int32 (panels x lanes,): a pair passes if its product is above this; written
    limits           int64 (panels x lanes,): rows that each query may see, ascending
    queries          float32 (panels x lanes, w): what scores are made of
    scores, rows     float32, int64 (panels x lanes, count): heaps; written
    words, places    int64 (block x panels + 1,): room
    found            int64 (block x panels x lanes + 1,): room
    room             float32 (block, terms): room, where blocks are decoded
    errors, steps    float64 (panels x lanes,): with `dots`, what a product may be off, and 1 / the score of one step
    slack            float32: what a product may be below the score that it has to beat

It returns how many pairs were scored in full."""


def scan_code(layout: Layout) -> str:
    """The program in LLVM's own text."""
    module = ir.Module("scan")
    return str(_Scan(module, layout).written())


class _Scan(TileCode):
    """The function `scan`; its parameters are those of `ARGUMENTS`."""

    def __init__(self, module: ir.Module, layout: Layout) -> None:
        self.layout = layout
        kinds = {
            **{name: FLOAT.as_pointer() for name in ("queries", "scores", "room")},
            **{name: LONG.as_pointer() for name in ("limits", "rows", "words", "places", "found")},
            **{name: DOUBLE.as_pointer() for name in ("errors", "steps")},
            **{name: self.number.as_pointer() for name in ("panels", "beat")},
            **{name: BYTE.as_pointer() for name in ("first", "second")},
            **dict.fromkeys(("start", "stop", "count_of_panels", "count"), LONG),
            "slack": FLOAT,
        }
        signature = ir.FunctionType(LONG, [kinds[name] for name in ARGUMENTS])
        super().__init__(module, ir.Function(module, signature, "scan"))
        for argument, name in zip(self.function.args, ARGUMENTS, strict=True):
            argument.name = name
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        self.given = dict(zip(ARGUMENTS, self.function.args, strict=True))

    def written(self) -> ir.Module:
        """The module with the function."""
        b, given = self.b, self.given
        scored, left = self.variable(LONG, LONG(0)), self.variable(LONG, LONG(0))
        self.noted, self.words = self.variable(LONG), self.variable(LONG)
        lanes = self.layout.lanes
        with self.loop(given["start"], given["stop"], self.layout.block) as first:
            last = self.less(b.add(first, LONG(self.layout.block)), given["stop"])
            b.store(LONG(0), self.noted)
            b.store(LONG(0), self.words)
            if self.layout.decoded:
                self.decode(first, last)

            def seen_by_none() -> Value:
                # Limits ascend: the last query of a panel sees the most.
                of_last = b.add(b.mul(b.load(left), LONG(lanes)), LONG(lanes - 1))
                # The last panel is never passed over, so that no limit is read beyond it.
                more = b.icmp_signed("<", b.add(b.load(left), LONG(1)), given["count_of_panels"])
                return b.and_(more, b.icmp_signed("<=", self.read(given["limits"], of_last), first))

            with self.repeated(seen_by_none):
                b.store(b.add(b.load(left), LONG(1)), left)
            with (
                self.loop(b.load(left), given["count_of_panels"]) as panel,
                self.loop(first, last, self.layout.rows) as row,
            ):
                self.tile(panel, row, first, last)
            with self.loop(LONG(0), b.load(self.words)) as word:
                self.note_word(word, last)
            b.store(b.add(b.load(scored), b.load(self.noted)), scored)
            with self.loop(LONG(0), b.load(self.noted)) as place:
                pair = self.read(given["found"], place)
                self.pair(b.lshr(pair, LONG(32)), b.and_(pair, LONG(2**32 - 1)))
        b.ret(b.load(scored))
        return self.module

    def decode(self, first: Value, last: Value) -> None:
        """Turn a block to float32."""
        done = 0
        for part in self.layout.bounds:
            with self.loop(first, last) as row:
                source = self.row(self.array(part), row, part.stride)
                target = self.row(self.given["room"], self.b.sub(row, first), self.layout.terms)
                with self.loop(LONG(0), LONG(part.width)) as number:
                    value = self.decoded(self.read(source, number), FLOAT) if part.codes else self.read(source, number)
                    self.b.store(value, self.at(target, self.b.add(number, LONG(done))))
            done += part.width

    def decoded(self, codes: Value, kind: Value) -> Value:
        """A code, or some side by side, as float32."""
        b = self.b
        if isinstance(kind, ir.VectorType):
            wide = ir.VectorType(INT, kind.count)
            return b.sitofp(b.sub(b.zext(codes, wide), ir.Constant(wide, [INT(OFFSET)] * kind.count)), kind)
        return b.sitofp(b.sub(b.zext(codes, INT), INT(OFFSET)), kind)

    def array(self, part: Part) -> Value:
        """The array of a part, as numbers of its kind."""
        base = self.given[("first", "second")[part.array]]
        return base if part.codes else self.b.bitcast(base, FLOAT.as_pointer())

    def tile(self, panel: Value, row: Value, first: Value, last: Value) -> None:
        """Note down which rows of a tile hold pairs that pass."""
        b, layout, given = self.b, self.layout, self.given
        lane = b.mul(panel, LONG(layout.lanes))
        # Beyond the last row it is that row again, whose pairs are not noted twice.
        rows = [self.less(b.add(row, LONG(number)), b.sub(last, LONG(1))) for number in range(layout.rows)]
        beaten = [
            self.read_vector(self.vector, given["beat"], b.add(lane, LONG(layout.vector * number)))
            for number in range(layout.vectors)
        ]
        sums = [[self.variable(self.vector, value) for value in beaten] for _ in rows]
        self.multiply(given["panels"], panel, [self.source(each, first) for each in rows], sums)
        for number in range(0, layout.rows, layout.rows_of_word):
            word, place = self.below(sums[number : number + layout.rows_of_word]), b.load(self.words)
            # Without a branch, which could not be foretold: what is not counted, the next one takes the place of.
            b.store(word, self.at(given["words"], place))
            b.store(b.or_(b.shl(panel, LONG(32)), b.add(row, LONG(number))), self.at(given["places"], place))
            b.store(b.add(place, b.zext(b.icmp_unsigned("!=", word, LONG(0)), LONG)), self.words)

    def note_word(self, number: Value, last: Value) -> None:
        """Note down the pairs of some rows of a tile that pass."""
        b, layout = self.b, self.layout
        place = self.read(self.given["places"], number)
        lane, row = b.mul(b.lshr(place, LONG(32)), LONG(layout.lanes)), b.and_(place, LONG(2**32 - 1))
        bits = self.variable(LONG, self.read(self.given["words"], number))
        with self.repeated(lambda: b.icmp_unsigned("!=", b.load(bits), LONG(0))):
            left = b.load(bits)
            b.store(b.and_(left, b.sub(left, LONG(1))), bits)
            pair = b.call(self.intrinsic("llvm.cttz.i64"), [left, BIT(1)])
            query, of_word = b.urem(pair, LONG(layout.lanes)), b.udiv(pair, LONG(layout.lanes))
            self.note(b.add(lane, query), b.add(row, of_word), last)

    def source(self, row: Value, first: Value) -> Value:
        """Where the numbers of a row lie that meet the queries."""
        if self.layout.decoded:
            return self.row(self.given["room"], self.b.sub(row, first), self.layout.terms)
        (part,) = self.layout.bounds
        base = self.row(self.array(part), row, part.stride)
        return self.b.bitcast(base, self.number.as_pointer())

    def note(self, query: Value, row: Value, last: Value) -> None:
        """Note a pair down if the query may see the row, and the row is one of the block's."""
        b, given = self.b, self.given
        seen = b.icmp_signed("<", row, self.less(self.read(given["limits"], query), last))
        place = b.load(self.noted)
        b.store(b.or_(b.shl(query, LONG(32)), row), self.at(given["found"], place))
        b.store(b.add(place, b.zext(seen, LONG)), self.noted)
        # It is read soon, and lies anywhere.
        fetch = self.intrinsic("llvm.prefetch.p0")
        for part in self.layout.scores:
            size = 1 if part.codes else 4
            base = b.bitcast(self.row(self.array(part), row, part.stride), BYTE.as_pointer())
            for byte in range(0, size * part.width, 64):
                b.call(fetch, [self.at(base, LONG(byte)), INT(0), INT(3), INT(1)])

    def pair(self, query: Value, row: Value) -> None:
        """Score a pair in full, and let it take its place in the query's heap."""
        b, given = self.b, self.given
        width = sum(part.width for part in self.layout.scores)
        vector, done = self.row(given["queries"], query, width), 0
        score: Value = FLOAT(0)
        for part in self.layout.scores:
            there = self.row(self.array(part), row, part.stride)
            score = b.fadd(score, self.dot(there, self.at(vector, LONG(done)), part))
            done += part.width
        heap = b.mul(query, given["count"])
        scores, rows = self.at(given["scores"], heap), self.at(given["rows"], heap)
        with b.if_then(b.fcmp_ordered(">", score, b.load(scores)), likely=False):
            self.sift(scores, rows, score, row)
            b.store(self.to_beat(query, b.load(scores)), self.at(given["beat"], query))

    def dot(self, there: Value, query: Value, part: Part) -> Value:
        """The sum of products of some numbers of a row and a query."""
        b, size = self.b, min(self.layout.vector, 8)
        kind = ir.VectorType(FLOAT, size)
        whole = part.width // size * size
        total: Value = FLOAT(0)
        # Two sums, so that no product waits for the one before it.
        sums: list[Value] = []
        for first in range(0, whole, size):
            at = LONG(first)
            if part.codes:
                some = self.decoded(self.read_vector(ir.VectorType(BYTE, size), there, at), kind)
            else:
                some = self.read_vector(kind, there, at)
            asked = self.read_vector(kind, query, at)
            if len(sums) < 2:
                sums.append(b.fmul(some, asked))
            else:
                number = first // size % 2
                sums[number] = b.call(self.intrinsic(f"llvm.fmuladd.v{size}f32"), [some, asked, sums[number]])
        if sums:
            both = sums[0] if len(sums) == 1 else b.fadd(*sums)
            added = self.intrinsic(f"llvm.vector.reduce.fadd.v{size}f32")
            total = b.call(added, [FLOAT(0), both], fastmath=["reassoc"])
        for number in range(whole, part.width):
            value = self.read(there, LONG(number))
            value = self.decoded(value, FLOAT) if part.codes else value
            total = b.fadd(total, b.fmul(value, self.read(query, LONG(number))))
        return total

    def sift(self, scores: Value, rows: Value, score: Value, row: Value) -> None:
        """Put a row in the place of a heap's lowest, and let it sink to where it belongs."""
        b, count = self.b, self.given["count"]
        place = self.variable(LONG, LONG(0))

        def below() -> Value:
            return b.add(b.shl(b.load(place), LONG(1)), LONG(1))

        with self.repeated(lambda: b.icmp_signed("<", below(), count)) as end:
            left = below()
            right = self.less(b.add(left, LONG(1)), b.sub(count, LONG(1)))
            lower = b.fcmp_ordered("<", self.read(scores, right), self.read(scores, left))
            child = b.select(lower, right, left)
            lowest = self.read(scores, child)
            sinks = self.function.append_basic_block("sinks")
            b.cbranch(b.fcmp_ordered("<", lowest, score), sinks, end)
            b.position_at_end(sinks)
            b.store(lowest, self.at(scores, b.load(place)))
            b.store(self.read(rows, child), self.at(rows, b.load(place)))
            b.store(child, place)
        b.store(score, self.at(scores, b.load(place)))
        b.store(row, self.at(rows, b.load(place)))

    def to_beat(self, query: Value, lowest: Value) -> Value:
        """What a query's sums start from once its lowest score is this."""
        b, given = self.b, self.given
        if not self.layout.dots:
            least = FLOAT(LOWEST)
            return b.fsub(b.select(b.fcmp_ordered(">", lowest, least), lowest, least), given["slack"])
        gap = b.fsub(b.fpext(lowest, DOUBLE), self.read(given["errors"], query))
        sums = b.fsub(b.fmul(gap, self.read(given["steps"], query)), DOUBLE(SPARE))
        sums = b.call(self.intrinsic("llvm.floor.f64"), [sums])
        least, most = DOUBLE(-MOST_SUM), DOUBLE(MOST_SUM)
        sums = b.select(b.fcmp_ordered(">", sums, least), sums, least)
        return b.fptosi(b.select(b.fcmp_ordered("<", sums, most), sums, most), INT)
