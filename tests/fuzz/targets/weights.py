"""Weights files and the model cards beside them: nothing runs, and nothing counts as unseen that is not."""

import json
import random
from pathlib import Path

import numpy as np

from kline_core.encoder.encoder import Encoder
from kline_core.encoder.weights import SYNTHETIC, WeightsFile
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.target import Taken, Target, check
from tests.support.homes import WINDOW_BARS, write_encoder

_GUIDED = ("/encoder/", "kline_core/dates.py")


def files(folder: Path) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    small = write_encoder(folder / "small.safetensors").read_bytes()
    seen = write_encoder(folder / "seen.safetensors", trained_through="2019-12-31").read_bytes()
    return [small, seen, b"\x80\x04\x95\x1f\x00cposix\nsystem\n"]


def mutate(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    """Mostly the header, and mostly as JSON: what follows it are numbers."""
    length = int.from_bytes(data[:8], "little")
    if draw.random() < 0.3 or length > len(data):
        return mutate_bytes(draw, data, kept)
    head = [each[8 : 8 + int.from_bytes(each[:8], "little")] for each in kept if len(each) > 100] or [b"{}"]
    header = mutate_json(draw, data[8 : 8 + length], head)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def take(case: bytes, work: Path) -> Taken:
    file = work / "w.safetensors"
    file.write_bytes(case)
    fingerprint = WeightsFile.read(file).fingerprint
    file.with_suffix(".json").write_text(json.dumps({"fingerprint": fingerprint, "trained_on": SYNTHETIC}))
    encoder = Encoder.load(file, "cpu")
    charts = np.zeros((1, 3 * encoder.window_bars, 64), dtype=np.uint8)
    check(abs(float(np.linalg.norm(encoder.encode(charts)[0])) - 1) < 1e-3, "a vector is not of length 1")
    return Taken()


def cards(folder: Path) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    write_encoder(folder / "w.safetensors")
    card = folder.joinpath("w.json").read_bytes()
    return [card, card.replace(b"synthetic", b"market"), b'{"fingerprint": "0"}']


def take_card(case: bytes, work: Path) -> Taken:
    """Weights that name no last day count as unseen only by a card that says so, of these weights."""
    file = work / "w.safetensors"
    if not file.exists():
        write_encoder(file)
    file.with_suffix(".json").write_bytes(case)
    read = WeightsFile.read(file)
    check(read.header().window_bars == WINDOW_BARS, "another header")
    card = json.loads(case)
    check(card["fingerprint"] == read.fingerprint, "the card is of other weights")
    check(str(card["trained_on"]).startswith(SYNTHETIC), "the card says something else")
    return Taken()


WEIGHTS = Target(_GUIDED, files, take, mutate)
CARDS = Target(_GUIDED, cards, take_card, mutate_json)
