"""Hashes that are the same in every process and on every machine. Tables store them, so they must never change."""

import hashlib

import numpy as np

from kline_core.typing import Hashes

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Increment of SplitMix64: 2**64 divided by the golden ratio, made odd."""


def mix64(value: Hashes) -> Hashes:
    """Output of SplitMix64 for each state: a bijection of uint64 in which every output bit depends on every input bit.

    `value`: uint64 of any shape. Returns uint64 of the same shape.

    Source: G. Steele, D. Lea and C. Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014).
    """
    value = value + GOLDEN
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def text_hash(text: str) -> int:
    """Hash of a text, 0 to 2**64 - 1: its 8-byte BLAKE2b digest (RFC 7693) in UTF-8, read as little-endian."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
