"""Encoders, loaded once per process. Importing this module loads no torch; loading an encoder does."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kline_core.encoder.weights import weights_fingerprint, weights_path
from kline_core.errors import EncoderError

if TYPE_CHECKING:
    from kline_core.encoder.encoder import Encoder


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

    def load(self) -> "Encoder":
        """Read the weights.

        Raises what `Encoder.load` raises, and `EncoderError` if this machine's encoder is not the key's.
        """
        from kline_core.encoder.encoder import Encoder

        encoder = Encoder.load(self.path, self.device)
        if encoder.fingerprint != self.fingerprint:
            raise EncoderError(
                f"the encoder here has fingerprint {encoder.fingerprint}, the run was started with {self.fingerprint}; "
                "install the same version on every worker",
                path=self.path,
            )
        return encoder

    def advance(self, earlier: Self, value: "Encoder") -> "Encoder | None":  # noqa: ARG002
        """None: no encoder is made from an earlier one."""
        return None
