"""The encoder: it turns a chart into a unit vector whose inner products say how alike charts are.

It is the trained first half of an attention convolutional autoencoder (`kline_core.encoder.network`). It encodes charts
in batches of one fixed, padded shape, because matrix products round differently for different batch shapes, and a value
must not depend on how the work was cut.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from kline_core.dates import optional_date
from kline_core.encoder.network import AttentionEncoder, ChartDecoder, to_input, without_batch_norm
from kline_core.encoder.weights import FORMAT, WeightsFile, WeightsHeader, checked_header, misfit, unreadable
from kline_core.errors import EncoderError
from kline_core.typing import Floats32, Pixels
from kline_core.windows.chart_rows import HEIGHT, PIXELS_PER_BAR

BATCH = 64
"""Charts of a batch. Another number may round vectors differently."""
GPU_BATCH = 1024
"""The same on a GPU of CUDA, which 64 charts leave idle most of the time: six times as quick on an H200."""
UNIT_TOLERANCE = 1e-3
"""By how much the length of a vector may differ from 1."""
ONNX: Final = "onnx"
"""Name of the device that is the processor by ONNX Runtime instead of torch; see `kline_core.encoder.onnx_network`."""


def choose_device(name: str = "auto") -> torch.device:
    """Device of a name; `auto` takes cuda, then mps, then cpu. Raises `EncoderError` if it cannot be used."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        # Others that torch knows by name end in warnings, missing modules or tensors without data.
        if not isinstance(name, str) or not re.fullmatch("cpu|mps|cuda(:[0-9]{1,4})?", name):
            raise RuntimeError("no such device")
        device = torch.device(name)
        # Read it back too: some devices make tensors that cannot be read.
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EncoderError(
            f"device {name!r} cannot be used ({reason}); use auto, cpu, cuda or mps", device=name
        ) from error
    return device


class Encoder:
    """A trained network, ready to encode; read-only and safe to share between threads.

    `dim` is the length of its vectors, `window_bars` the bars of the charts that it takes, `trained_through` the last
    date of the market data it was trained on (None: it has seen no market), and `fingerprint` 16 hexadecimal digits
    over its file.
    """

    def __init__(
        self,
        network: AttentionEncoder,
        fingerprint: str,
        trained_through: np.datetime64 | None = None,
        device: torch.device | None = None,
        *,
        onnx: bool = False,
    ) -> None:
        """Wrap a network; use `Encoder.load` for stored weights. `onnx`: whether ONNX Runtime encodes, not torch.

        Raises `DateError` if `trained_through` is NaT, which every date would count as later than, or no day; and
        `EncoderError` if ONNX Runtime is asked for and cannot be imported.
        """
        self.device = device or torch.device("cpu")
        self._batch = BATCH
        if self.device.type == "cuda":
            self._batch = GPU_BATCH
            # By default CUDA's convolutions round their input to 10 bits (TF32), which is no quicker here, and moved
            # vectors by 1e-4 from those of a processor; in float32 it is 5e-7.
            torch.backends.cudnn.allow_tf32 = False
        self.network = without_batch_norm(network.eval()).requires_grad_(False).to(self.device)
        self.device_name = ONNX if onnx else str(self.device)
        self._vectors = _by_onnx_runtime(self.network) if onnx else self._by_torch
        self.dim, self.window_bars = network.dim, network.window_bars
        self.fingerprint = fingerprint
        self.trained_through = optional_date(trained_through, "trained_through")

    @classmethod
    def load(cls, path: str | Path | None = None, device: str = "auto") -> Self:
        """Read an encoder from a safetensors file; without a path, from the default weights of the package.

        `device` is as for `choose_device`, or `onnx`. Raises `EncoderError` if the file is missing, damaged, holds
        another network than its header says (see `WeightsFile.header`) or numbers that are not finite, or leaves open
        which market data it has seen, or if the device cannot be used.
        """
        file = WeightsFile.read(path)
        header, network = file.header(), network_of(file)
        onnx = device == ONNX
        where = choose_device("cpu" if onnx else device)
        encoder = cls(network, file.fingerprint, header.trained_through, where, onnx=onnx)
        # Once more: a negative variance is finite, what batch normalisation makes of it is not.
        _check_finite(encoder.network, file.path)
        return encoder

    def encode(self, charts: Pixels) -> Floats32:
        """Vectors of uint8 charts `(n, 3 * window_bars, 64)`: float32 `(n, dim)`, each of length 1.

        A chart's vector does not depend on the charts that it is encoded with, nor on torch's number of threads.

        Raises `EncoderError` if the charts have another dtype or shape, or if a vector has not the length 1, because
        the weights are out of proportion or the device miscalculates.
        """
        width = self.window_bars * PIXELS_PER_BAR
        if charts.dtype != np.uint8 or charts.ndim != 3 or charts.shape[1:] != (width, HEIGHT):
            raise EncoderError(
                f"charts are {charts.dtype} of shape {charts.shape}; this encoder takes uint8 (n, {width}, {HEIGHT})"
            )
        vectors = np.empty((len(charts), self.dim), dtype=np.float32)
        with torch.inference_mode(), one_thread():
            for start in range(0, len(charts), self._batch):
                batch = charts[start : start + self._batch]
                if (missing := self._batch - len(batch)) > 0:
                    batch = np.concatenate([batch, np.zeros((missing, width, HEIGHT), np.uint8)])
                vectors[start : start + self._batch] = self._vectors(batch)[: len(vectors) - start]
        length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        # As a negated comparison, so that NaN is refused too.
        if (wrong := ~(np.abs(length - 1) <= UNIT_TOLERANCE)).any():
            raise EncoderError(
                f"the encoder with fingerprint {self.fingerprint} made a vector of length {length[wrong][0]} on "
                f"{self.device_name}, and each must have the length 1; try --device cpu, or train the weights again",
                device=self.device_name,
            )
        return vectors

    def _by_torch(self, batch: Pixels) -> Floats32:
        vectors: Floats32 = self.network(to_input(batch, self.device)).cpu().numpy()
        return vectors


def _by_onnx_runtime(network: AttentionEncoder) -> Callable[[Pixels], Floats32]:
    try:
        from kline_core.encoder.onnx_network import OnnxNetwork
    except ImportError as error:
        raise EncoderError(
            f"device {ONNX!r} needs ONNX Runtime ({error}): pip install 'kline-factor[onnx]', or use auto, cpu, cuda "
            "or mps",
            device=ONNX,
        ) from error
    return OnnxNetwork(network, BATCH).vectors


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread in the calling thread: on some processors convolutions round differently with several."""
    before = torch.get_num_threads()
    if before == 1:
        # So it is in every worker. Setting the limit again could reach other threads, which have their own work.
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def save_weights(path: Path, encoder: AttentionEncoder, decoder: ChartDecoder | None, header: dict[str, str]) -> None:
    """Write both halves of the autoencoder, or the encoder alone, to a safetensors file.

    `header` may hold `trained_through` (ISO date).

    The same weights give the same bytes, and so the same fingerprint. The file appears under its name only once it is
    complete. Raises `EncoderError` if a number is not finite, or for a header that no reader would take.
    """
    metadata = {"format": FORMAT, "dim": str(encoder.dim), "window_bars": str(encoder.window_bars)} | header
    checked_header(path, metadata)
    tensors: dict[str, Tensor] = {}
    for half, prefix in ((encoder, "encoder."), (decoder, "decoder.")):
        if half is not None:
            _check_finite(half, path)
            tensors |= {f"{prefix}{name}": tensor for name, tensor in half.state_dict().items()}
    raw = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    # The order in which safetensors writes metadata changes from call to call. Like it, pad the header with spaces.
    length = int.from_bytes(raw[:8], "little")
    sorted_header = json.dumps(json.loads(raw[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    waiting = path.with_name(f".{uuid4().hex}")
    try:
        waiting.write_bytes(raw[:8] + sorted_header.ljust(length) + raw[8 + length :])
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)


def network_of(file: WeightsFile) -> AttentionEncoder:
    """The network of a weights file. Raises `EncoderError` as `Encoder.load`."""
    header = file.header()
    _check_size(AttentionEncoder, header, file)
    network = AttentionEncoder(header.dim, header.window_bars)
    _fill(network, "encoder.", file)
    return network


def load_decoder(path: str | Path | None = None) -> ChartDecoder:
    """The decoder that was trained with the encoder of the same file. Raises `EncoderError` as `Encoder.load`."""
    file = WeightsFile.read(path)
    header = file.header()
    _check_size(ChartDecoder, header, file)
    decoder = ChartDecoder(header.dim, header.window_bars)
    _fill(decoder, "decoder.", file)
    return decoder.eval().requires_grad_(False)


def _check_size(kind: type[AttentionEncoder | ChartDecoder], header: WeightsHeader, file: WeightsFile) -> None:
    """Refuse a file that is too small for the network in its header, before memory of that size is taken."""
    wanted = kind.largest_layer(header.dim, header.window_bars) * torch.float32.itemsize
    if len(file.raw) < wanted:
        raise misfit(
            file.path,
            f"its header says dim {header.dim} and window_bars {header.window_bars}, which takes at least {wanted} "
            f"bytes, and the file has {len(file.raw)}",
        )


def _fill(half: nn.Module, prefix: str, file: WeightsFile) -> None:
    """Give a half of the autoencoder its tensors of a file."""
    try:
        tensors = load(file.raw)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise unreadable(file.path, error) from error
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    for name, wanted in half.state_dict().items():
        # torch itself would round another type without a word.
        if name in own and own[name].dtype != wanted.dtype:
            raise misfit(file.path, f"{prefix}{name} is {own[name].dtype}, not {wanted.dtype}")
    try:
        half.load_state_dict(own)
    except RuntimeError as error:
        raise misfit(file.path, error) from error
    _check_finite(half, file.path)


def _check_finite(half: nn.Module, path: Path) -> None:
    tensor: Tensor
    for name, tensor in half.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise EncoderError(
                f"encoder weights {path} hold numbers that are not finite (in {name}); train them again", path=str(path)
            )
