"""Weights of the default encoder, and the header of a weights file; imports no torch."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from kline_core.errors import EncoderError

DEFAULT_WEIGHTS = Path(__file__).parent / "default.safetensors"
FORMAT = "kline-attention-cae-1"


def weights_fingerprint(path: str | Path | None = None) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a weights file (None: the default one).

    Raises `EncoderError` if the file cannot be read.
    """
    path = Path(path) if path is not None else DEFAULT_WEIGHTS
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise EncoderError(
            f"encoder weights {path} cannot be read ({error.strerror}); give a file written by `kline train`",
            path=str(path),
        ) from error


def weights_header(path: str | Path | None = None) -> dict[str, str]:
    """Header of a weights file (None: the default one), as text values: format, dim, window_bars and others.

    Raises `EncoderError` if the file cannot be read or has another format.
    """
    path = Path(path) if path is not None else DEFAULT_WEIGHTS
    try:
        with safe_open(path, "np") as file:
            header: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error
    if header.get("format") != FORMAT:
        raise EncoderError(
            f"encoder weights {path} are no {FORMAT} file; give a file written by `kline train`", path=str(path)
        )
    return header


def weights_shape(path: str | Path | None = None) -> tuple[int, int]:
    """Length of an encoder's vectors, and bars of its windows. Raises `EncoderError` if the file cannot be used."""
    header = weights_header(path)
    try:
        return int(header["dim"]), int(header["window_bars"])
    except (KeyError, ValueError) as error:
        raise misfit(Path(path) if path is not None else DEFAULT_WEIGHTS, error) from error


def misfit(path: Path, error: Exception) -> EncoderError:
    """Error for a weights file whose header or tensors do not fit the network."""
    reason = str(error).splitlines()[-1].strip()
    return EncoderError(f"encoder weights {path} do not fit the network ({reason}); train them again", path=str(path))


def unreadable(path: Path, error: Exception) -> EncoderError:
    """Error for a weights file that is missing or damaged."""
    return EncoderError(
        f"encoder weights {path} cannot be read ({error}); give a file written by `kline train`", path=str(path)
    )
