"""K-line factor: how often did the price rise after charts that looked like this one?

    >>> import kline_core as kl
    >>> sorted(kl.__all__)[:4]
    ['Encoder', 'FactorSettings', 'Home', 'PatternSettings']

From bars to values:

* `Home`: a folder or object-store URL with the tables;
* `ingest`, `load_us_stocks`: bars in; `fetch`: bars from live sources;
* `check`, `release_jump`: quality of the bars, and jumps of prices that are real;
* `update_patterns`: the windows whose outcome is known, drawn and encoded;
* `compute_factor`, `read_factor`: factor values, computed or read;
* `explain`: one sample with its matches; `history`: a symbol's values beside its price;
* `context`: regime, volume and money flow on days; no value depends on them;
* `evaluate`: IC, rank IC and quantile returns of the values; `compare`: how far two kinds of values agree;
  `compare_baselines`: simple methods beside them;
* `study`: metrics that are taught what followed, walk-forward;
* `verify`: the tables checked against each other;
* `Settings`, `PatternSettings`, `FactorSettings`: every setting, with its default;
* `Encoder`, `render_charts`: the parts by themselves;
* `errors`: every error raised on purpose.

Each name is imported on first use, so that importing the package loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# First of all modules, since it says what code the others are.
from kline_core import _code as _code

__version__ = "0.1.0"

_PUBLIC = {
    "Encoder": "kline_core.encoder.encoder",
    "FactorSettings": "kline_core.settings",
    "Home": "kline_core.store.home",
    "PatternSettings": "kline_core.settings",
    "Settings": "kline_core.settings",
    "check": "kline_core.api.quality",
    "compare": "kline_core.api.agreement",
    "compare_baselines": "kline_core.api.baselines",
    "compute_factor": "kline_core.api.factor",
    "context": "kline_core.api.context",
    "errors": "kline_core",
    "evaluate": "kline_core.api.views",
    "explain": "kline_core.api.views",
    "fetch": "kline_core.api.fetch",
    "history": "kline_core.api.views",
    "ingest": "kline_core.api.data",
    "load_us_stocks": "kline_core.demo.stocks",
    "read_factor": "kline_core.api.factor",
    "release_jump": "kline_core.api.quality",
    "render_charts": "kline_core.windows.charts",
    "study": "kline_core.api.study",
    "update_patterns": "kline_core.api.data",
    "verify": "kline_core.api.data",
}
__all__ = [
    "Encoder",
    "FactorSettings",
    "Home",
    "PatternSettings",
    "Settings",
    "check",
    "compare",
    "compare_baselines",
    "compute_factor",
    "context",
    "errors",
    "evaluate",
    "explain",
    "fetch",
    "history",
    "ingest",
    "load_us_stocks",
    "read_factor",
    "release_jump",
    "render_charts",
    "study",
    "update_patterns",
    "verify",
]

if TYPE_CHECKING:
    from kline_core import errors
    from kline_core.api.agreement import compare
    from kline_core.api.baselines import compare_baselines
    from kline_core.api.context import context
    from kline_core.api.data import ingest, update_patterns, verify
    from kline_core.api.factor import compute_factor, read_factor
    from kline_core.api.fetch import fetch
    from kline_core.api.quality import check, release_jump
    from kline_core.api.study import study
    from kline_core.api.views import evaluate, explain, history
    from kline_core.demo.stocks import load_us_stocks
    from kline_core.encoder.encoder import Encoder
    from kline_core.settings import FactorSettings, PatternSettings, Settings
    from kline_core.store.home import Home
    from kline_core.windows.charts import render_charts


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("kline_core.errors")
    if name not in _PUBLIC:
        raise AttributeError(
            f"module 'kline_core' has no attribute {name!r}; its public names are {', '.join(__all__)}"
        )
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
