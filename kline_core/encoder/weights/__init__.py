"""Weights of the default encoder, and the header of a weights file; imports no torch.

A header decides which dates an encoder may score, so it is read strictly. What is missing, of another type, written
twice or no exact day is refused instead of being taken for "has seen no market". Nothing in a file is ever executed.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from kline_core._text import quoted, refusal
from kline_core.dates import parse_date
from kline_core.errors import DateError, EncoderError

DEFAULT_WEIGHTS = Path(__file__).parent / "default.safetensors"
DEFAULT_FINGERPRINT: Final = "58eaea1039d18570"
"""Fingerprint of the default weights as they are released. A file that has it is whole, and fits the network."""
FORMAT = "kline-attention-cae-1"
SYNTHETIC = "synthetic charts only"
"""How `trained_on` of a model card begins if the encoder has seen no market."""
MAX_FILE, MAX_HEADER = 1 << 30, 1 << 20
"""Bytes of a weights file and of its header, at most; those of the default encoder are 1.8 million and 7,000."""
MAX_DIM, MAX_WINDOW_BARS = 4096, 250
DECODER_ROWS, DECODER_CHANNELS = 4, 48
"""What the decoder's first layer makes of a vector for each bar."""
_SPREAD = "decoder.spread.weight"


@dataclass(frozen=True, slots=True)
class WeightsHeader:
    """Header of a weights file."""

    dim: int
    """Length of the encoder's vectors."""
    window_bars: int
    """Bars of its windows."""
    trained_through: np.datetime64 | None
    """Last day of the market data that it was trained on, datetime64[D]; None if it has seen no market."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weights file, read once, so that fingerprint, header and tensors are of the same bytes."""

    path: Path
    raw: bytes
    fingerprint: str
    """First 16 hexadecimal digits of the SHA-256."""

    @classmethod
    def read(cls, path: str | Path | None = None) -> Self:
        """Read a file (None: the default weights). Raises `EncoderError` if it is missing or no regular file."""
        path = weights_path(path)
        try:
            if path.exists() and not path.is_file():
                raise unreadable(path, "it is no regular file")
            if (size := path.stat().st_size) > MAX_FILE:
                raise unreadable(path, f"it has {size} bytes, and may have {MAX_FILE}")
            raw = path.read_bytes()
        except (OSError, ValueError) as error:
            raise unreadable(path, refusal(error)) from error
        return cls(path, raw, hashlib.sha256(raw).hexdigest()[:16])

    def header(self) -> WeightsHeader:
        """The header. Raises `EncoderError` if it is damaged, of another format, or leaves open what was seen.

        Its sizes are compared with the decoder's, since an encoder of 5 bars has the shape of one of 6. A file may lack
        the decoder, as training alone needs it; then nothing but the header tells the two apart.
        """
        content = self._content()
        metadata = content.get("__metadata__", {})
        if not isinstance(metadata, dict):
            raise unreadable(self.path, "its header is no JSON object")
        if metadata.get("format") != FORMAT:
            raise EncoderError(
                f"encoder weights {self.path} are no {FORMAT} file; give a file written by `kline train`",
                path=str(self.path),
            )
        header = checked_header(self.path, metadata)
        if _SPREAD in content:
            self._check_decoder(header, content[_SPREAD])
        if header.trained_through is None and (doubt := self._card_doubt()):
            raise EncoderError(
                f"encoder weights {self.path} name no day through which they were trained, and their card "
                f"{self.path.with_suffix('.json')} does not say that they have seen {SYNTHETIC} ({doubt}); "
                "put the card that `kline train` wrote beside them, or train them again",
                path=str(self.path),
            )
        return header

    def _check_decoder(self, header: WeightsHeader, spread: object) -> None:
        shape = spread.get("shape") if isinstance(spread, dict) else None
        wanted = [DECODER_CHANNELS * header.window_bars * DECODER_ROWS, header.dim]
        if shape != wanted:
            raise misfit(
                self.path,
                f"its header says dim {header.dim} and window_bars {header.window_bars}, for which {_SPREAD} has the "
                f"shape {wanted}, and it has {quoted(shape)}",
            )

    def _content(self) -> dict[str, Any]:
        length = int.from_bytes(self.raw[:8], "little")
        if len(self.raw) < 8 or length > min(len(self.raw) - 8, MAX_HEADER):
            raise unreadable(self.path, "it is cut short, or no safetensors file")
        try:
            content = json.loads(self.raw[8 : 8 + length].decode(), object_pairs_hook=_without_doubles)
        except (ValueError, RecursionError) as error:
            raise unreadable(self.path, f"its header is damaged: {error}") from error
        if not isinstance(content, dict):
            raise unreadable(self.path, "its header is no JSON object")
        return content

    def _card_doubt(self) -> str | None:
        """Why the model card does not show that the encoder has seen no market; None if it does."""
        place = self.path.with_suffix(".json")
        try:
            # Asked before it is opened: a pipe would wait for a writer, and a device may never end.
            if place.exists() and not place.is_file():
                return "it is no regular file"
            if place.exists() and (size := place.stat().st_size) > MAX_HEADER:
                return f"it has {size} bytes, and may have {MAX_HEADER}"
            card = json.loads(place.read_bytes().decode(), object_pairs_hook=_without_doubles)
        except FileNotFoundError:
            return "there is none"
        except (OSError, ValueError, RecursionError) as error:
            return f"it cannot be read: {refusal(error)}"
        if not isinstance(card, dict) or card.get("fingerprint") != self.fingerprint:
            return f"it is not of the weights with fingerprint {self.fingerprint}"
        if not str(card.get("trained_on")).startswith(SYNTHETIC):
            return f"its trained_on is {quoted(card.get('trained_on'))}"
        return None


def weights_path(path: str | Path | None = None) -> Path:
    """Absolute path of a weights file (None: the default one). Raises `EncoderError` for a `~user` who is not there."""
    try:
        return DEFAULT_WEIGHTS if path is None else Path(path).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        raise unreadable(Path(str(path)), getattr(error, "strerror", None) or "there is no such user") from error


def weights_fingerprint(path: str | Path | None = None) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a weights file (None: the default one).

    Raises `EncoderError` if the file cannot be read.
    """
    return WeightsFile.read(path).fingerprint


def weights_shape(path: str | Path | None = None) -> tuple[int, int]:
    """Length of an encoder's vectors, and bars of its windows. Raises `EncoderError` if the file cannot be used."""
    header = WeightsFile.read(path).header()
    return header.dim, header.window_bars


def checked_header(path: Path, metadata: dict[str, Any]) -> WeightsHeader:
    """Header from a file's metadata. Raises `EncoderError` for a value that is missing or has another form."""
    through = metadata.get("trained_through")
    if "trained_through" in metadata:
        through = _day(path, through)
    return WeightsHeader(
        _whole(path, metadata, "dim", 1, MAX_DIM), _whole(path, metadata, "window_bars", 2, MAX_WINDOW_BARS), through
    )


def _whole(path: Path, metadata: dict[str, Any], name: str, least: int, most: int) -> int:
    text = metadata.get(name)
    # Not int(), which also takes signs, spaces, underscores and the digits of other scripts.
    if not isinstance(text, str) or not re.fullmatch("[1-9][0-9]{0,8}", text) or not least <= int(text) <= most:
        raise misfit(path, f"{name} in its header is {quoted(text)}, no whole number from {least} to {most}")
    return int(text)


def _day(path: Path, text: object) -> np.datetime64:
    try:
        # Not NumPy, which takes "NaT", "now" and "today" for dates.
        if isinstance(text, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return parse_date(text, "trained_through")
        reason = f"trained_through in its header is {quoted(text)}, no day written YYYY-MM-DD"
    except DateError as error:
        reason = str(error)
    raise EncoderError(
        f"encoder weights {path} cannot be used ({reason}), since nobody knows which dates they have seen; "
        "train them again",
        path=str(path),
    )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has {max(names, key=names.count)!r} more than once")
    return found


def misfit(path: Path, error: object) -> EncoderError:
    """Error for a weights file whose header or tensors do not fit the network."""
    reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
    return EncoderError(f"encoder weights {path} do not fit the network ({reason}); train them again", path=str(path))


def unreadable(path: Path, error: object) -> EncoderError:
    """Error for a weights file that is missing or damaged."""
    return EncoderError(
        f"encoder weights {path} cannot be read ({error}); give a file written by `kline train`", path=str(path)
    )
