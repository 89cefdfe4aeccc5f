"""What programs of LLVM are written with: loops, variables and addresses, in the terms of llvmlite's builder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

BYTE, SHORT, INT, LONG, BIT = (ir.IntType(size) for size in (8, 16, 32, 64, 1))
FLOAT, DOUBLE, NONE = ir.FloatType(), ir.DoubleType(), ir.VoidType()
Value = Any
"""A value of a program; llvmlite has no types of its own for the checker."""


class ProgramBuilder:
    """Loops, variables and addresses of one function."""

    def __init__(self, module: ir.Module, function: ir.Function) -> None:
        """At the start of a function that has no code yet."""
        self.module, self.function = module, function
        self.declared: dict[str, Value] = {}
        self.b = ir.IRBuilder(function.append_basic_block("entry"))

    def variable(self, kind: Value, value: Value | None = None) -> Value:
        """Room for a value, which LLVM keeps in a register where it can."""
        with self.b.goto_entry_block():
            place = self.b.alloca(kind)
        if value is not None:
            self.b.store(value, place)
        return place

    @contextmanager
    def loop(self, start: Value, stop: Value, step: int = 1) -> Iterator[Value]:
        """The numbers from `start` to `stop`."""
        number = self.variable(LONG, start)
        with self.repeated(lambda: self.b.icmp_signed("<", self.b.load(number), stop)):
            yield self.b.load(number)
            self.b.store(self.b.add(self.b.load(number), LONG(step)), number)

    @contextmanager
    def repeated(self, test: Callable[[], Value]) -> Iterator[Value]:
        """Again and again as long as `test` holds; yields where to go to leave."""
        again, body, end = (self.function.append_basic_block(name) for name in ("again", "body", "end"))
        self.b.branch(again)
        self.b.position_at_end(again)
        self.b.cbranch(test(), body, end)
        self.b.position_at_end(body)
        yield end
        self.b.branch(again)
        self.b.position_at_end(end)

    def at(self, base: Value, *numbers: Value) -> Value:
        """The address of a number of an array."""
        return self.b.gep(base, list(numbers))

    def row(self, base: Value, number: Value, width: int) -> Value:
        """The address of a row of an array."""
        return self.at(base, self.b.mul(number, LONG(width)))

    def read(self, base: Value, number: Value) -> Value:
        """A number of an array."""
        return self.b.load(self.at(base, number))

    def read_vector(self, kind: ir.VectorType, base: Value, number: Value) -> Value:
        """Some numbers of an array that lie side by side anywhere."""
        value = self.b.load(self.b.bitcast(self.at(base, number), kind.as_pointer()))
        value.align = kind.element.width // 8 if isinstance(kind.element, ir.IntType) else 4
        return value

    def repeat(self, value: Value, kind: ir.VectorType) -> Value:
        """A vector that holds one value everywhere."""
        none = ir.Constant(kind, ir.Undefined)
        one = self.b.insert_element(none, value, INT(0))
        return self.b.shuffle_vector(one, none, ir.Constant(ir.VectorType(INT, kind.count), [0] * kind.count))

    def less(self, one: Value, other: Value) -> Value:
        """The smaller of two whole numbers."""
        return self.b.select(self.b.icmp_signed("<", one, other), one, other)

    def intrinsic(self, name: str) -> Value:
        """One of LLVM's own functions."""
        if name not in self.declared:
            self.declared[name] = ir.Function(self.module, _signature(name), name)
        return self.declared[name]


def _signature(name: str) -> ir.FunctionType:
    *path, last = name.split(".")
    if "pmadd" in name:
        size = 512 if last == "512" else 256 if "avx2" in path else 128
        bytes_, shorts, sums = (ir.VectorType(kind, size // kind.width) for kind in (BYTE, SHORT, INT))
        # Those of bytes have "ub" in their name, for those without a sign.
        return ir.FunctionType(shorts, [bytes_] * 2) if "ub" in name else ir.FunctionType(sums, [shorts] * 2)
    if path[-1] == "vpdpbusd":
        sums, bytes_ = ir.VectorType(INT, int(last) // 32), ir.VectorType(BYTE, int(last) // 8)
        return ir.FunctionType(sums, [sums, bytes_, bytes_])
    if path[-1] == "prefetch":
        return ir.FunctionType(NONE, [BYTE.as_pointer(), INT, INT, INT])
    if path[-1] == "cttz":
        return ir.FunctionType(LONG, [LONG, BIT])
    if path[-1] == "floor":
        return ir.FunctionType(DOUBLE, [DOUBLE])
    vector = ir.VectorType(FLOAT, int(last.removeprefix("v").removesuffix("f32")))
    if path[-1] == "fmuladd":
        return ir.FunctionType(vector, [vector] * 3)
    return ir.FunctionType(FLOAT, [FLOAT, vector])
