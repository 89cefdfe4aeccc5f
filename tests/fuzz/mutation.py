"""Mutations: of bytes, and of JSON documents, whose structure most changes of single bytes would only break."""

import json
import random
from collections.abc import Callable
from typing import Any

Mutate = Callable[[random.Random, bytes, list[bytes]], bytes]
"""A case from another one; the list holds all that were kept, to take parts from."""

LARGEST = 65_536
"""Bytes of a case, at most, beside those of a seed."""
TOKENS = [
    *(
        b"",
        b",",
        b'"',
        b'""',
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xd8\x00",
        b"\x1b[2J",
    ),
    *(b"nan", b"-nan(ind)", b"inf", b"-inf", b"1e309", b"1_000", b"-0", b"0x10", b"1e-400", b"1e12", b"1e-12", b"NA"),
    *(
        b"2020-01-02",
        b"20200102",
        b"2020/1/2",
        b"9999-12-31",
        b"0000-00-00",
        b"2020-02-30",
        b"NaT",
        b"now",
        b"2020-01-02T00:00",
    ),
    *(
        b"../../etc/passwd",
        b"a" * 300,
        "股票\u202e\u200b".encode(),
        b"9" * 5_000,
        b"[" * 3_000,
        b"%s%n",
        b"=cmd()",
        b"$(id)",
    ),
    *(
        b"symbol",
        b"date",
        b"open",
        b"adj_factor",
        b"\xc3\x28",
        b"\xf0\x9f\x92\xa9",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
    ),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 5, 20, 250, 251, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400),
    *(0.0, -0.0, 0.5, 1.0, 20.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        " ",
        "0",
        "20",
        "nan",
        "A",
        "fast",
        "exact",
        "XSHG",
        "XNYS",
        "2020-01-02",
        "NaT",
        "now",
        "\0",
        "\n",
        "\ud800",
    ),
    *(
        "x" * 5_000,
        "../../etc/passwd",
        "/dev/zero",
        "股票\u202e",
        "9" * 5_000,
        "!!python/object",
        "2020-01-02T00:00:00+23:59",
    ),
    *([], {}, [[]], {"": None}, [1, 5], [1, 1], [5, 1], [True], ["1"], [0.5], {"horizons": [1]}, ["A"] * 300),
]


def mutate_bytes(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    """A few changes at random places: bits, bytes, tokens, parts that vanish, repeat, or come from another case."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(found) + 1)
        end = min(len(found), at + draw.choice((1, 1, 2, 4, 8, 64, 1_000)))
        match draw.randrange(8):
            case 0 if at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(found):
                found[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x2C, draw.randrange(256)))
            case 2:
                found[at:at] = draw.choice(TOKENS)
            case 3:
                found[at:end] = draw.choice(TOKENS)
            case 4:
                del found[at:end]
            case 5:
                found[at:at] = found[at:end] * draw.choice((1, 1, 2, 50))
            case 6:
                other = draw.choice(kept)
                start = draw.randrange(len(other) + 1)
                found[at:end] = other[start : start + draw.choice((4, 32, 256, 4_096))]
            case _:
                del found[at:]
        del found[max(LARGEST, len(data)) :]
    return bytes(found)


def mutate_json(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    """The document with some values replaced, removed, renamed or taken from another one; now and then other bytes."""
    if draw.random() < 0.1:
        return mutate_bytes(draw, data, kept)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = draw.choice(VALUES)
    for _ in range(draw.choice((1, 1, 2, 4))):
        document = _changed(draw, document)
    return json.dumps(document).encode()


def _changed(draw: random.Random, node: Any) -> Any:
    """The document with one change somewhere in it."""
    if not isinstance(node, dict | list) or not node or draw.random() < 0.1:
        return draw.choice(VALUES)
    if isinstance(node, list):
        at = draw.randrange(len(node))
        if draw.random() < 0.2:
            return [*node[:at], *node[at + 1 :]] if draw.random() < 0.5 else [*node, draw.choice(VALUES)]
        return [*node[:at], _changed(draw, node[at]), *node[at + 1 :]]
    key = draw.choice(sorted(node))
    if draw.random() < 0.2:
        rest = {name: value for name, value in node.items() if name != key}
        return (
            rest if draw.random() < 0.5 else rest | {draw.choice(("", "x", key.upper(), "\ud800", key * 2)): node[key]}
        )
    return node | {key: _changed(draw, node[key])}
