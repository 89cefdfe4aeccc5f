"""The name of one state of a home, by which workers know what to load; imports no torch and loads nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kline_core.known import check_patterns
from kline_core.settings import Settings
from kline_core.tables import Home
from kline_core.weights import weights_fingerprint


@dataclass(frozen=True, slots=True)
class ResourceKey:
    """Names one state of a home; hashable, small, and the same in every process."""

    home: str
    bars_version: int | None
    patterns_version: int | None
    tables: tuple[str | None, str | None]
    """Identities of `bars` and `patterns`: a home that is deleted and made again counts its versions from 0."""
    settings: Settings
    encoder_path: str | None
    encoder: str
    """Fingerprint of the encoder."""
    device: str = "auto"

    @classmethod
    def newest(cls, home: Home, settings: Settings, encoder_path: str | None = None, device: str = "auto") -> Self:
        """The state that the home is in now. Raises what `weights_fingerprint` and `check_patterns` do."""
        # In full, since a worker looks for it from another folder.
        path = None if encoder_path is None else str(Path(encoder_path).expanduser().absolute())
        encoder = weights_fingerprint(path)
        versions = home.version("bars"), home.version("patterns")
        identities = home.identity("bars"), home.identity("patterns")
        check_patterns(home, settings.patterns, encoder, versions[1])
        return cls(home.uri, *versions, identities, settings, path, encoder, device)

    @property
    def fingerprint(self) -> str:
        """Fingerprint under which values are stored."""
        return self.settings.fingerprint(self.encoder)
