"""An index in n shards that lie elsewhere: what a search asks of them, and how their answers become one.

Shard i of n holds the blocks i, i + n, i + 2n, ... of `BLOCK` patterns each. So every prefix of the patterns, those
known on a date, is divided into shares that differ by one block at most: all shards have the same to do for any date, a
row that is added stays where it is, and a worker reads from a file what lies together.

A search cannot wait for a shard while it computes: the thread in which the shard would answer may be the one that
waits. So it is written as if the answers were there (`AnsweredIndex`). At the first question that has none it breaks
off with `Unanswered`, the question is answered, and the search begins again with one answer more. It asks the same
again, since it depends on nothing else.

The result is that of one index, bit for bit. A similarity is that of its pair alone, wherever it is computed. A shard
says above which similarity it proposed all of its rows; above the highest of these bounds all rows were proposed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from kline_core.search.pattern_index import Hits, PatternIndex, Proposals
from kline_core.typing import Flags, Floats32, Floats64, Int64s

MAX_SHARDS = 1024
BLOCK = 256
"""Rows of a block: 64 KB of vectors of 64 numbers. In blocks of 4,096 the best rows of a query, which are often of
neighbouring dates, lie in one shard more often, and all shards are asked once more."""
_DEVIATIONS = 4
"""How far the share of the best rows that lie in one shard may exceed its mean, in standard deviations of chance: a
question more to all shards costs more than some rows more of each."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which rows a shard holds."""

    number: int
    """0 to `of` - 1."""
    of: int
    """Number of shards."""

    def known(self, known: Int64s) -> Int64s:
        """How many of the first `known` rows lie in the shard."""
        rounds, rest = np.divmod(known, BLOCK * self.of)
        own: Int64s = rounds * BLOCK + np.clip(rest - self.number * BLOCK, 0, BLOCK)
        return own

    def rows(self, rows: Int64s) -> Int64s:
        """Rows of the whole from those of the shard; -1 stays -1."""
        block, place = np.divmod(rows, BLOCK)
        return np.where(rows < 0, -1, (block * self.of + self.number) * BLOCK + place)

    def holds(self, rows: Int64s) -> Flags:
        """Which rows of the whole lie in the shard."""
        held: Flags = rows // BLOCK % self.of == self.number
        return held

    def places(self, rows: Int64s) -> Int64s:
        """Rows of the shard from those of the whole that lie in it."""
        return rows // (BLOCK * self.of) * BLOCK + rows % BLOCK

    def blocks(self, count: int) -> range:
        """Numbers of the blocks of `count` rows that the shard holds."""
        return range(self.number, -(-count // BLOCK), self.of)

    def count(self, count: int) -> int:
        """Of the `count` best rows, how many may well lie in the shard."""
        share = count / self.of
        return min(count, math.ceil(share + _DEVIATIONS * math.sqrt(share)))


@dataclass(frozen=True, slots=True, eq=False)
class ForVectors:
    """Asks for `PatternIndex.vectors_of`."""

    rows: Int64s

    def put_to(self, index: PatternIndex, share: Share) -> Floats32:
        """Vectors of those of the rows that lie in the shard with this index, in their order."""
        return index.vectors_of(share.places(self.rows[share.holds(self.rows)]))

    def joined(self, answers: Sequence[Floats32]) -> Floats32:
        """The answer from those of all shards, in their order."""
        vectors = np.empty((len(self.rows), answers[0].shape[1]), dtype=np.float32)
        for number, part in enumerate(answers):
            vectors[Share(number, len(answers)).holds(self.rows)] = part
        return vectors


@dataclass(frozen=True, slots=True, eq=False)
class ForProposals:
    """Asks for `PatternIndex.proposals`."""

    vectors: Floats32
    known: Int64s
    count: int

    def put_to(self, index: PatternIndex, share: Share) -> Proposals:
        """Rows of the whole that lie in the shard with this index."""
        found = index.proposals(self.vectors, share.known(self.known), share.count(self.count))
        return Proposals(share.rows(found.rows), found.similarity, found.certain_above)

    def joined(self, answers: Sequence[Proposals]) -> Proposals:
        """The answer from those of all shards."""
        return Proposals.merged(answers)


@dataclass(frozen=True, slots=True, eq=False)
class ForReaching:
    """Asks for `PatternIndex.reaching`."""

    vectors: Floats32
    known: Int64s
    bound: Floats64

    def put_to(self, index: PatternIndex, share: Share) -> list[Hits]:
        """Rows of the whole that lie in the shard with this index."""
        found = index.reaching(self.vectors, share.known(self.known), self.bound)
        return [(share.rows(rows), similarity) for rows, similarity in found]

    def joined(self, answers: Sequence[list[Hits]]) -> list[Hits]:
        """The answer from those of all shards."""
        return [
            (np.concatenate([rows for rows, _ in parts]), np.concatenate([similarity for _, similarity in parts]))
            for parts in zip(*answers, strict=True)
        ]


Question: TypeAlias = ForVectors | ForProposals | ForReaching
"""What a search asks an index for. `put_to` answers it for a shard, and `joined` for the whole."""


class Unanswered(Exception):  # noqa: N818  no error
    """A search cannot go on without the answer to a question."""

    def __init__(self, question: Question) -> None:
        """To be caught by whoever has the question answered."""
        super().__init__(type(question).__name__)
        self.question = question


class AnsweredIndex:
    """A `PatternIndex` that repeats the answers to the questions of a search, in their order.

    For one search: it raises `Unanswered` for the first question without an answer.
    """

    def __init__(self, count: int, answers: Sequence[Any] = ()) -> None:
        """`count`: number of patterns; `answers`: those to the first questions, as `joined` returns them."""
        self._count, self._answers = count, iter(answers)

    def __len__(self) -> int:
        """Number of patterns."""
        return self._count

    def vectors_of(self, rows: Int64s) -> Floats32:
        """See `PatternIndex.vectors_of`."""
        answer: Floats32 = self._answer(ForVectors(rows))
        return answer

    def proposals(self, vectors: Floats32, known: Int64s, count: int) -> Proposals:
        """See `PatternIndex.proposals`."""
        answer: Proposals = self._answer(ForProposals(vectors, known, count))
        return answer

    def reaching(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Hits]:
        """See `PatternIndex.reaching`."""
        answer: list[Hits] = self._answer(ForReaching(vectors, known, bound))
        return answer

    def _answer(self, question: Question) -> Any:
        for answer in self._answers:
            return answer
        raise Unanswered(question)
