"""Encoders, loaded once per process. Importing this module loads no torch.

The default encoder's network is loaded with the first window that is encoded: most samples take their vectors from the
patterns, and torch takes longer to import than they take to score. Its file is compared with what was released before.
The network of other weights is loaded at once, so that what is wrong with it is found before anything is computed.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from kline_core.encoder.weights import (
    DEFAULT_FINGERPRINT,
    WeightsFile,
    WeightsHeader,
    weights_fingerprint,
    weights_path,
)
from kline_core.errors import EncoderError
from kline_core.typing import Floats32, Pixels

if TYPE_CHECKING:
    from kline_core.encoder.encoder import Encoder

_NEVER_REFUSED: Final = ("auto", "cpu")
"""Devices that need not be tried before the first window is encoded."""


class KeptEncoder:
    """The encoder of a key; safe to share between threads.

    `fingerprint`, `dim`, `window_bars` and `trained_through` are those of `kline_core.encoder.encoder.Encoder`.
    """

    def __init__(self, key: "EncoderKey", header: WeightsHeader) -> None:
        self._key, self._lock = key, threading.Lock()
        self._loaded: Encoder | None = None
        self.fingerprint, self.dim, self.window_bars = key.fingerprint, header.dim, header.window_bars
        self.trained_through = header.trained_through

    def loaded(self) -> "Encoder":
        """The encoder with its network. Raises `EncoderError` as `Encoder.load`, and if its file was replaced."""
        from kline_core.encoder.encoder import Encoder

        with self._lock:
            if self._loaded is None:
                encoder = Encoder.load(self._key.path, self._key.device)
                self._key.check(encoder.fingerprint)
                self._loaded = encoder
            return self._loaded

    def encode(self, charts: Pixels) -> Floats32:
        """Vectors of charts; see `Encoder.encode`. Raises as that and `loaded`."""
        return self.loaded().encode(charts)


@dataclass(frozen=True, slots=True)
class EncoderKey:
    """Key of an encoder."""

    path: str | None
    """Absolute path of the weights; None for the default ones."""
    fingerprint: str
    """Fingerprint of the weights' file."""
    device: str = "auto"

    @classmethod
    def of(cls, path: str | Path | None = None, device: str = "auto") -> Self:
        """Key of the encoder that a file holds now. Raises as `weights_fingerprint`."""
        # Absolute, since a worker runs in another folder.
        path = None if path is None else str(weights_path(path))
        return cls(path, weights_fingerprint(path), device)

    @property
    def gpu(self) -> str | None:
        """The CUDA device that is asked for by name; None for any other, and for `auto`, which encoding looks up."""
        return self.device if self.device.startswith("cuda") else None

    def check(self, found: str) -> None:
        """Raise `EncoderError` if the fingerprint that was found is another."""
        if found != self.fingerprint:
            raise EncoderError(
                f"the encoder here has fingerprint {found}, the run was started with {self.fingerprint}; "
                "install the same version on every worker",
                path=self.path,
            )

    def load(self) -> KeptEncoder:
        """Read the weights.

        Raises what `Encoder.load` raises, and `EncoderError` if this machine's encoder is not the key's. If the weights
        are the default ones, what is wrong with the device `auto` is raised by the first window that is encoded.
        """
        file = WeightsFile.read(self.path)
        encoder = KeptEncoder(self, file.header())
        if file.fingerprint != DEFAULT_FINGERPRINT or self.device not in _NEVER_REFUSED:
            encoder.loaded()
        self.check(file.fingerprint)
        return encoder

    def advance(self, earlier: Self, value: KeptEncoder) -> KeptEncoder | None:  # noqa: ARG002
        """None: no encoder is made from an earlier one."""
        return None
