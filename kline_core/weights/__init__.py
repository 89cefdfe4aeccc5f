"""Weights of the default encoder, and what identifies the weights in a file; imports no torch."""

import hashlib
from pathlib import Path

from kline_core.errors import EncoderError

DEFAULT_WEIGHTS = Path(__file__).parent / "default.safetensors"


def weights_fingerprint(path: str | Path | None = None) -> str:
    """16 hexadecimal digits of the SHA-256 of a weights file (None: the default ones).

    Raises `EncoderError` where the file cannot be read.
    """
    path = Path(path) if path is not None else DEFAULT_WEIGHTS
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise EncoderError(
            f"encoder weights {path} cannot be read ({error.strerror}); give a file written by `kline train`"
        ) from error
