"""Hashes that are the same in every process and on every machine; tables hold some, so they never change."""

import hashlib

import numpy as np

from kline_core.typing import Hashes

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Step of SplitMix64: 2**64 divided by the golden ratio, made odd."""


def mix64(value: Hashes) -> Hashes:
    """SplitMix64's answer to each state: a bijection of uint64 whose output bits all depend on every input bit.

    `value`: uint64 of any shape; the result has the same.

    Source: G. Steele, D. Lea and C. Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014).
    """
    value = value + GOLDEN
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def text_hash(text: str) -> int:
    """Whole number below 2**64: BLAKE2b with an 8-byte digest over the text in UTF-8, read as little-endian."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
