"""A weights file decides which dates may be scored; no damaged or hand-made one is read as "has seen no market"."""

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from kline_core.encoder import weights
from kline_core.encoder.encoder import Encoder, load_decoder, save_weights
from kline_core.encoder.network import AttentionEncoder, ChartDecoder
from kline_core.encoder.weights import FORMAT, WeightsFile, weights_fingerprint, weights_shape
from kline_core.errors import EncoderError
from tests.support.homes import write_encoder, write_synthetic_card

HEADER = {"format": FORMAT, "dim": "8", "window_bars": "5"}
READERS = [Encoder.load, load_decoder, weights_shape]


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(write_encoder(tmp_path_factory.mktemp("weights") / "w"))
    return found


def raw_file(metadata: str) -> bytes:
    """A file without tensors whose header has these very characters as metadata."""
    header = f'{{"__metadata__": {metadata}}}'.encode()
    return struct.pack("<Q", len(header)) + header


def refused(path: Path, named: str) -> None:
    for read in READERS:
        with pytest.raises(EncoderError, match=named):
            read(path)


@pytest.mark.parametrize(
    "through",
    [
        *("NaT", "nat", "now", "today", "", " ", "99999999-01-01", "99999999", "0", "2020", "2020-01", "20200101"),
        *("2020-1-1", " 2020-01-01", "2020-01-01\n", "2020-01-01T00:00", "2020-02-30", "0001-01-01", "9999-12-31"),
        *("1799-12-31", "2200-01-01", "２０２０-０１-０１", "+2020-01-01", "-2020-01-01", "null", "None", "[]"),
    ],
)
def test_a_day_that_is_none_switches_no_guard_off(
    tmp_path: Path, tensors: dict[str, torch.Tensor], through: str
) -> None:
    save_file(tensors, tmp_path / "w", HEADER | {"trained_through": through})
    # Even with a card that says that it has seen no market.
    write_synthetic_card(tmp_path / "w")
    refused(tmp_path / "w", r"w cannot be used \(trained_through .*train them again")
    with pytest.raises(EncoderError, match="trained_through"):
        save_weights(tmp_path / "other", AttentionEncoder(8), ChartDecoder(8), {"trained_through": through})
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("value", ["null", "20200101", "[]", '["2020-01-01"]', "{}", "true", "1e999"])
def test_a_day_of_another_type_switches_no_guard_off(tmp_path: Path, value: str) -> None:
    (tmp_path / "w").write_bytes(
        raw_file(f'{{"format": "{FORMAT}", "dim": "8", "window_bars": "5", "trained_through": {value}}}')
    )
    write_synthetic_card(tmp_path / "w")
    refused(tmp_path / "w", "trained_through in its header is")


@pytest.mark.slow
@given(st.text(max_size=12))
def test_only_an_exact_day_is_a_day(text: str) -> None:
    try:
        header = weights.checked_header(Path("w"), HEADER | {"trained_through": text})
    except EncoderError:
        return
    assert str(header.trained_through) == text


@given(st.dates(np.datetime64("1800-01-01").item(), np.datetime64("2199-12-31").item()))
def test_every_day_within_the_bounds_is_kept(day: Any) -> None:
    header = weights.checked_header(Path("w"), HEADER | {"trained_through": day.isoformat()})
    assert header.trained_through == np.datetime64(day, "D")


@pytest.mark.parametrize(
    ("card", "named"),
    [
        (None, "there is none"),
        ("", "it cannot be read"),
        ("[]", "it is not of the weights with fingerprint"),
        ('{"trained_on": "synthetic charts only"}', "it is not of the weights"),
        ('{"fingerprint": "0000000000000000", "trained_on": "synthetic charts only"}', "it is not of the weights"),
        ('{"fingerprint": "OWN"}', "its trained_on is None"),
        ('{"fingerprint": "OWN", "trained_on": "bars of 5,000 symbols"}', "its trained_on is 'bars of 5,000 symbols'"),
        ('{"fingerprint": "OWN", "trained_on": "bars", "trained_on": "synthetic charts only"}', "more than once"),
    ],
)
def test_without_a_day_the_card_must_say_that_no_market_was_seen(
    tmp_path: Path, tensors: dict[str, torch.Tensor], card: str | None, named: str
) -> None:
    path = tmp_path / "w.safetensors"
    save_file(tensors, path, HEADER)
    if card is not None:
        path.with_suffix(".json").write_text(card.replace("OWN", weights_fingerprint(path)))
    refused(path, f"w.safetensors name no day .*w.json does not say .*{named}")
    write_synthetic_card(path)
    assert Encoder.load(path, "cpu").trained_through is None


@pytest.mark.parametrize(
    "metadata",
    [
        '{"format": "F", "dim": "8", "dim": "9", "window_bars": "5", "trained_through": "2020-01-01"}',
        '{"format": "F", "trained_through": "2020-01-01", "trained_through": "2001-01-01"}',
        '{}, "__metadata__": {"format": "F", "dim": "8", "window_bars": "5"}',
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, metadata: str) -> None:
    (tmp_path / "w").write_bytes(raw_file(metadata.replace('"F"', f'"{FORMAT}"')))
    write_synthetic_card(tmp_path / "w")
    refused(tmp_path / "w", "more than once")


@pytest.mark.parametrize(
    ("name", "value"),
    [("dim", each) for each in ("0", "-8", "+8", " 8", "8.0", "0x8", "1_0", "८", "4097", "9" * 5000, "")]
    + [("window_bars", each) for each in ("0", "1", "-5", "251", "five")],
)
def test_sizes_are_whole_numbers_within_bounds(name: str, value: str) -> None:
    header = HEADER | {"trained_through": "2020-01-01", name: value}
    with pytest.raises(EncoderError, match=f"{name} in its header is .* no whole number from"):
        weights.checked_header(Path("w"), header)


@pytest.mark.parametrize("name", ["dim", "window_bars"])
@pytest.mark.parametrize("value", [8, None, [8], True])
def test_sizes_of_another_type_are_refused(name: str, value: object) -> None:
    with pytest.raises(EncoderError, match=f"{name} in its header is"):
        weights.checked_header(Path("w"), HEADER | {name: value})


class _Executed:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save({"x": _Executed(trace)}, tmp_path / "torch")
    (tmp_path / "pickle").write_bytes(pickle.dumps(_Executed(trace)))
    for name in ("torch", "pickle"):
        refused(tmp_path / name, "cannot be read")
    assert not trace.exists()


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 0),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 9) + b'{"a": \xff}',
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        raw_file("3"),
        raw_file("[]"),
    ],
    ids=["huge", "negative", "empty", "list", "null", "no utf-8", "deep", "number", "array"],
)
def test_damaged_headers_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "w").write_bytes(raw)
    write_synthetic_card(tmp_path / "w")
    refused(tmp_path / "w", "cannot be read|are no kline")


@pytest.mark.parametrize("shape", [[-8], [2**62, 2**62], [3], ["8"]])
def test_tensors_of_an_impossible_shape_are_refused(tmp_path: Path, shape: list[Any]) -> None:
    header = {
        "__metadata__": HEADER | {"trained_through": "2020-01-01"},
        "encoder.latent.bias": {"dtype": "F32", "shape": shape, "data_offsets": [0, 32]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(text)) + text + bytes(32))
    with pytest.raises(EncoderError, match=r"cannot be read|do not fit"):
        Encoder.load(tmp_path / "w", "cpu")


@pytest.mark.parametrize("place", ["fifo", "folder"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, place: str) -> None:
    (os.mkfifo if place == "fifo" else os.mkdir)(tmp_path / "w")
    refused(tmp_path / "w", "it is no regular file")


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_encoder(tmp_path / "w")
    monkeypatch.setattr(weights, "MAX_FILE", 1000)
    refused(tmp_path / "w", "and may have 1000")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], value: float
) -> None:
    for name in ("encoder.latent.weight", "encoder.convolutions.1.running_mean", "decoder.seed.bias"):
        if name not in tensors:
            name = max(each for each in tensors if each.startswith("decoder.") and each.endswith("bias"))
        odd = {each: tensor.clone() for each, tensor in tensors.items()}
        odd[name].view(-1)[0] = value
        save_file(odd, tmp_path / "w", HEADER | {"trained_through": "2020-01-01"})
        read = Encoder.load if name.startswith("encoder.") else load_decoder
        with pytest.raises(EncoderError, match="hold numbers that are not finite"):
            read(tmp_path / "w")


def test_a_variance_below_zero_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    odd = tensors | {"encoder.convolutions.1.running_var": -tensors["encoder.convolutions.1.running_var"]}
    save_file(odd, tmp_path / "w", HEADER | {"trained_through": "2020-01-01"})
    with pytest.raises(EncoderError, match="hold numbers that are not finite"):
        Encoder.load(tmp_path / "w", "cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int32])
def test_numbers_of_another_type_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> None:
    odd = tensors | {"encoder.latent.bias": tensors["encoder.latent.bias"].to(dtype)}
    save_file(odd, tmp_path / "w", HEADER | {"trained_through": "2020-01-01"})
    with pytest.raises(EncoderError, match=r"encoder\.latent\.bias is torch\..* not torch\.float32"):
        Encoder.load(tmp_path / "w", "cpu")


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    network = AttentionEncoder(8)
    with torch.no_grad():
        network.latent.bias[0] = torch.nan
    (tmp_path / "w").write_bytes(b"earlier weights")
    with pytest.raises(EncoderError, match="not finite"):
        save_weights(tmp_path / "w", network, ChartDecoder(8), {})
    assert (tmp_path / "w").read_bytes() == b"earlier weights"


def test_the_fingerprint_is_that_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "w")
    file = WeightsFile.read(path)
    write_encoder(path, seed=1)
    assert file.fingerprint != weights_fingerprint(path) == Encoder.load(path, "cpu").fingerprint


def test_a_card_that_is_no_regular_file_of_its_size_is_none(tmp_path: Path) -> None:
    file = write_encoder(tmp_path / "w.safetensors")
    card = tmp_path / "w.json"
    card.unlink()
    card.symlink_to("/dev/zero")
    refused(file, r"it is no regular file")
    card.unlink()
    card.symlink_to(card)
    refused(file, r"it cannot be read: a link on the way there leads back to itself\); put the card")
    card.unlink()
    os.mkfifo(card)
    refused(file, r"it is no regular file")
    card.unlink()
    card.write_bytes(b" " * (weights.MAX_HEADER + 1))
    refused(file, r"it has 1048577 bytes, and may have 1048576")


def test_a_header_takes_no_more_memory_than_its_file_has(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(raw_file(json.dumps(HEADER | {"dim": "4096", "window_bars": "250"})))
    write_synthetic_card(file)
    for read in (Encoder.load, load_decoder):
        with pytest.raises(EncoderError, match=r"takes at least [0-9]{9,} bytes, and the file has"):
            read(file)


@pytest.mark.parametrize(("bars", "said"), [(5, 6), (6, 5), (20, 19), (19, 20)])
def test_a_number_of_bars_with_which_an_encoder_has_the_same_shape_is_refused(
    tmp_path: Path, bars: int, said: int
) -> None:
    tensors = load_file(write_encoder(tmp_path / "w", window_bars=bars))
    sizes = {"dim": "8", "window_bars": str(said), "trained_through": "2020-01-01"}
    save_file(tensors, tmp_path / "w", HEADER | sizes)
    refused(tmp_path / "w", rf"w do not fit the network \(its header says dim 8 and window_bars {said}, .*train them")


def test_weights_without_a_decoder_are_an_encoder(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    half = {name: tensor for name, tensor in tensors.items() if name.startswith("encoder.")}
    save_file(half, tmp_path / "w", HEADER | {"trained_through": "2020-01-01"})
    assert Encoder.load(tmp_path / "w", "cpu").window_bars == 5
    with pytest.raises(EncoderError, match=r"w do not fit the network"):
        load_decoder(tmp_path / "w")


@pytest.mark.parametrize("spread", [None, 3, [], {}, {"shape": None}, {"shape": [960]}, {"shape": "960"}])
def test_a_decoder_of_no_shape_is_refused(tmp_path: Path, spread: object) -> None:
    content = {"__metadata__": HEADER | {"trained_through": "2020-01-01"}, "decoder.spread.weight": spread}
    text = json.dumps(content).encode()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(text)) + text)
    refused(tmp_path / "w", "do not fit the network")
