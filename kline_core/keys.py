"""Names by which workers know what to load: small, and the same in every process. Imports no torch, loads nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kline_core.known import check_patterns
from kline_core.settings import Settings
from kline_core.tables import Home
from kline_core.weights import weights_fingerprint


@dataclass(frozen=True, slots=True)
class BarsKey:
    """Names the bars of one state of a home."""

    home: str
    version: int | None
    identity: str | None
    """A home that is deleted and made again counts its versions from 0."""


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


@dataclass(frozen=True, slots=True)
class ResourceKey:
    """Names one state of a home; hashable."""

    home: str
    bars_version: int | None
    patterns_version: int | None
    tables: tuple[str | None, str | None]
    """Identities of `bars` and `patterns`, see `BarsKey`."""
    settings: Settings
    encoder_path: str | None
    encoder: str
    """Fingerprint of the encoder."""
    device: str = "auto"

    @classmethod
    def newest(cls, home: Home, settings: Settings, encoder_path: str | None = None, device: str = "auto") -> Self:
        """The state that the home is in now. Raises what `weights_fingerprint` and `check_patterns` do."""
        encoder = EncoderKey.of(encoder_path, device)
        versions = home.version("bars"), home.version("patterns")
        identities = home.identity("bars"), home.identity("patterns")
        check_patterns(home, settings.patterns, encoder.fingerprint, versions[1])
        return cls(home.uri, *versions, identities, settings, encoder.path, encoder.fingerprint, device)

    @property
    def bars(self) -> BarsKey:
        """The state's bars."""
        return BarsKey(self.home, self.bars_version, self.tables[0])

    @property
    def weights(self) -> EncoderKey:
        """The state's encoder."""
        return EncoderKey(self.encoder_path, self.encoder, self.device)

    @property
    def fingerprint(self) -> str:
        """Fingerprint under which values are stored."""
        return self.settings.fingerprint(self.encoder)
