"""Encoders, read once per process. Importing this module loads no torch; loading an encoder does."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kline_core.encoder.weights import weights_fingerprint
from kline_core.errors import EncoderError

if TYPE_CHECKING:
    from kline_core.encoder.encoder import Encoder


@dataclass(frozen=True, slots=True)
class EncoderKey:
    """Names an encoder."""

    path: str | None
    """None: the default one."""
    fingerprint: str
    device: str = "auto"

    @classmethod
    def of(cls, path: str | Path | None = None, device: str = "auto") -> Self:
        """The encoder in a file as it is now. Raises what `weights_fingerprint` does."""
        # In full, since a worker looks for it from another folder.
        path = None if path is None else str(Path(path).expanduser().absolute())
        return cls(path, weights_fingerprint(path), device)

    def load(self) -> "Encoder":
        """Read the weights.

        Raises what `Encoder.load` does, and `EncoderError` where this machine's encoder is another one than the key's.
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
        """None: an encoder never goes on from another one."""
        return None
