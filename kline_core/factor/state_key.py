"""Key of a loaded state: small, and the same in every process. Imports no torch; loading a state does."""

from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Self

from kline_core._memory import on_disk
from kline_core.bars.bars_cache import BarsKey
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.patterns.catalogue import CatalogueKey
from kline_core.patterns.pattern_table import pattern_table
from kline_core.patterns.update import PatternsUpdate
from kline_core.patterns.verified import check_patterns
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.factor.state import LoadedState


def with_any_factor(patterns: PatternSettings) -> Settings:
    """Settings with these patterns, and factor settings of which nothing depends that is loaded."""
    return Settings(patterns, FactorSettings(return_horizon=patterns.horizons[0]))


@dataclass(frozen=True, slots=True)
class StateKey:
    """Key of one state of a home: its bars, its patterns, the settings and the encoder."""

    bars: BarsKey
    patterns_version: int | None
    patterns_identity: str | None
    """Identity of the table of patterns, see `BarsKey`."""
    settings: Settings
    encoder: EncoderKey
    patterns_table: str
    """Name of the table of patterns, see `kline_core.patterns.pattern_table`."""
    shards: int = 1
    """Number of shards that the vectors lie in (`kline_core.factor.shard`); 1 if the state holds them itself. Of how
    values are computed, and so no part of their fingerprint."""

    @classmethod
    def newest(
        cls, home: Home, settings: Settings, encoder_path: str | Path | None = None, device: str = "auto"
    ) -> Self:
        """Key of the home's present state. Raises as `weights_fingerprint` and `check_patterns`."""
        encoder = EncoderKey.of(encoder_path, device)
        bars = BarsKey.newest(home)
        while True:
            table = pattern_table(home, settings.patterns, encoder.fingerprint)
            version, identity = home.version(table), home.identity(table)
            # Patterns that came between two looks may be of bars that came between them.
            before, bars = bars, BarsKey.newest(home)
            if before == bars:
                break
        check_patterns(home, table, settings.patterns, encoder.fingerprint, version)
        return cls(bars, version, identity, settings, encoder, table)

    @classmethod
    def of_update(
        cls, patterns: PatternsUpdate, settings: Settings, encoder_path: str | Path | None = None, device: str = "auto"
    ) -> Self:
        """Key of the state that an update of the patterns left, whatever came since. Raises as `newest`."""
        encoder, home = EncoderKey.of(encoder_path, device), Home(patterns.bars.home)
        table, version = patterns.table, patterns.version
        check_patterns(home, table, settings.patterns, encoder.fingerprint, version)
        identity = None if version is None else home.identity(table, version)
        return cls(patterns.bars, version, identity, settings, encoder, table)

    @property
    def home(self) -> str:
        """Folder or URL of the home."""
        return self.bars.home

    @property
    def catalogue(self) -> CatalogueKey:
        """Key of the windows that the patterns must be of."""
        return CatalogueKey(self.bars, self.settings.patterns)

    @property
    def return_column(self) -> int:
        """Which column of the patterns' returns is that of `return_horizon`."""
        return self.settings.patterns.horizons.index(self.settings.factor.return_horizon)

    @property
    def index_options(self) -> str:
        """The options of `kline index` that reach these patterns, such as `--scales 1,5`; empty for the usual ones."""
        encoder = "" if self.encoder.path is None else f"--encoder {quote(self.encoder.path)}"
        return " ".join(part for part in (self.settings.patterns.options, encoder) if part)

    @property
    def fingerprint(self) -> str:
        """Fingerprint under which values are stored."""
        return self.settings.fingerprint(self.encoder.fingerprint)

    @property
    def loads(self) -> Self:
        """The key without the factor settings that change nothing loaded, so that runs with different ones share it."""
        if self.settings.factor.index != "exact":
            return self
        return replace(self, settings=with_any_factor(self.settings.patterns))

    def goes_on(self, earlier: Self) -> bool:
        """Whether this may be a later version of an earlier key's tables, computed in the same way."""
        mine, before = (
            (key.home, key.bars.identity, key.patterns_identity, key.settings.patterns, key.encoder, key.shards)
            for key in (self, earlier)
        )
        return mine == before

    def vectors_on_disk(self, count: int, dim: int) -> bool:
        """Whether so many vectors are to be read from disk; shards and an approximate index hold theirs.

        Raises as `on_disk`.
        """
        held = self.shards > 1 or self.settings.factor.index != "exact"
        return not held and count > 0 and on_disk(4 * count * dim)

    def load(self) -> "LoadedState":
        """Load the state from its tables; see `kline_core.factor.state.load_state`."""
        from kline_core.factor.state import load_state

        return load_state(self)

    def advance(self, earlier: Self, value: "LoadedState") -> "LoadedState | None":
        """Load only the patterns added since an earlier state; see `kline_core.factor.state.advance_state`."""
        from kline_core.factor.state import advance_state

        return advance_state(self, earlier, value)
