"""Settings, parameters of functions and flows, and the options of the command line."""

import contextlib
import io
import json
import random
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from kline_core.cli.parser import main
from kline_core.compute.request import Request
from kline_core.dates import parse_date
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.symbols import check_symbol
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import Taken, Target, check, check_line
from tests.support.homes import make_home, market

_GUIDED = (
    "kline_core/settings.py",
    "kline_core/dates.py",
    "kline_core/symbols.py",
    "/cli/",
    "/request.py",
    "flows/common/",
)


def setting_seeds(_folder: Path) -> list[bytes]:
    whole = {"patterns": asdict(PatternSettings()), "factor": asdict(FactorSettings())}
    strided = {"patterns": {"pattern_stride": 5, "calendar": "XNYS"}, "factor": {"index": "ivf", "probes": 7}}
    many = {
        "patterns": {"market_relative": True},
        "factor": {"half_life_days": None, "min_similarity": 0.5, "many": 500},
    }
    scaled = {"patterns": {"scales": [1, 5, 7], "scale_weights": [0.5, 0.25, 0.25]}, "factor": {}}
    return [json.dumps(each).encode() for each in (whole, strided, many, scaled)]


def _with_tuples(patterns: dict[str, Any]) -> dict[str, Any]:
    """Fields that are tuples, from lists, which JSON has in their place."""
    tuples = ("horizons", "scales", "scale_weights")
    return {
        name: tuple(value) if name in tuples and isinstance(value, list) else value for name, value in patterns.items()
    }


def take_settings(case: bytes, _work: Path) -> Taken:
    """What is accepted has one fingerprint, is plain JSON, and is itself again when it is made of that."""
    given = _object(case)
    if not isinstance(given.get("patterns", {}), dict) or not isinstance(given.get("factor", {}), dict):
        return Taken()
    patterns, factor = (_known(given.get(name, {}), kind) for name, kind in _KINDS)
    patterns = _with_tuples(patterns)
    settings = Settings(PatternSettings(**patterns), FactorSettings(**factor))
    text = json.dumps({"patterns": asdict(settings.patterns), "factor": asdict(settings.factor)}, allow_nan=False)
    again = json.loads(text)
    twin = Settings(PatternSettings(**_with_tuples(again["patterns"])), FactorSettings(**again["factor"]))
    check(twin == settings and hash(twin) == hash(settings), "settings are not themselves again")
    check(twin.fingerprint("x") == settings.fingerprint("x"), "settings have two fingerprints")
    # Equal settings share what is cached under them, so they must share their values' key too.
    whole = {
        name: float(value) if type(value) is int and name in _FRACTIONS else value for name, value in factor.items()
    }
    check(FactorSettings(**whole).to_dict() == settings.factor.to_dict(), "equal settings differ")
    check(settings.patterns.outcome_bars < 2**31, "outcomes beyond any history")
    return Taken()


_KINDS = (("patterns", PatternSettings), ("factor", FactorSettings))
_FRACTIONS = {"barrier_weight", "half_life_days", "min_recall", "min_effective_matches", "min_similarity"}


def _known(given: dict[str, Any], kind: type) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in kind.__dataclass_fields__}


def _object(case: bytes) -> dict[str, Any]:
    try:
        found = json.loads(case)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def parameter_seeds(_folder: Path) -> list[bytes]:
    known = {"day": "2020-01-02", "symbols": ["A"], "samples": 600, "share": 0.2, "symbol": "A", "calendar": "XSHG"}
    known |= {"home": "~/kline", "dates": {"A": ["2020-01-02"]}}
    known |= {"settings": {"preset": "broad", "scales": [1, 5, 21], "scale_weights": [0.6, 0.3, 0.1], "top_k": 20}}
    others = {"symbols": "[AAPL,MSFT]", "day": 20200102, "settings": {"mode": "full", "half_life_days": "none"}}
    return [json.dumps(known).encode(), json.dumps(known | others).encode()]


def take_parameters(case: bytes, _work: Path) -> Taken:
    from pydantic import TypeAdapter, ValidationError

    given = _object(case)
    day = given.get("day")
    for kind, value in _flow_types(given):
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            check(bool(error.errors()), "no reason")
    check_symbol(given.get("symbol"))
    parsed = parse_date(day, "day")
    check(1800 <= parsed.item().year <= 2199, "a day out of bounds")
    symbols, share = given.get("symbols"), given.get("share", 0.2)
    request = Request(symbols=symbols, samples=given.get("samples", 600), as_of=parsed, max_failed_share=share)
    check(1 <= request.samples <= 1_000_000 and 0 <= request.max_failed_share <= 1, "out of bounds")
    return Taken()


def _flow_types(given: dict[str, Any]) -> list[tuple[Any, Any]]:
    from flows.common import parameters as made
    from flows.common.chosen_settings import ChosenSettings

    return [
        *((made.Symbols, given.get("symbols")), (made.Date, given.get("day")), (made.Samples, given.get("samples"))),
        *(
            (made.Calendar, given.get("calendar")),
            (made.HomePlace, given.get("home")),
            (made.Share, given.get("share")),
            (ChosenSettings, given.get("settings")),
        ),
    ]


def option_seeds(_folder: Path) -> list[bytes]:
    lines = [
        ["run", "A", "--samples", "60", "--as-of", "2020-01-02"],
        ["run", "--dates", "dates.csv", "--top-k", "5", "--search-k", "9", "--min-matches", "2"],
        ["match", "A", "2020-01-02", "--png", "x.png", "--index", "ivf", "--probes", "3"],
        ["run", "A", "--scales", "1,5", "--scale-weights", "0.75,0.25"],
        ["evaluate", "--first", "2020-01-02", "--last", "20200103", "--fingerprint", "0123456789abcdef"],
        ["export", "x.parquet", "--format", "wide"],
        ["verify", "--encoder", "x.safetensors", "--json"],
        ["runs", "--last", "3"],
        ["replay", "20200102T000000-abcdef"],
        ["ingest", "nowhere", "--max-file-bytes", "100"],
    ]
    return [json.dumps(words).encode() for words in lines]


def mutate_options(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    """Words as a shell may give them: text without NUL."""
    try:
        found = json.loads(mutate_json(draw, data, kept))
    except (ValueError, RecursionError):
        found = []
    words = [str(word).replace("\0", "")[:2_000] for word in found] if isinstance(found, list) else []
    # Commands that would train, serve or compute are no parsers of words.
    first = json.loads(data)[:1]
    return json.dumps([*first, *words[1:]]).encode()


def take_options(case: bytes, work: Path) -> Taken:
    """A command on an empty home: at most one line beside progress on standard error, and a fitting exit code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(work), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: object = main(["--home", str(_home(work)), *json.loads(case)])
        except SystemExit as stop:
            code = stop.code
    said = [line for line in err.getvalue().splitlines() if line.strip() and not line.startswith("run: 0 samples [")]
    check(code in (0, 1, 2, 3), f"exit code {code}")
    for line in said:
        check_line(line)
        check("unexpected" not in line and "Traceback" not in line, line)
    check(len(said) <= 1, f"{len(said)} lines: {said[:3]}")
    check(code == 0 or bool(said) or bool(out.getvalue()), "no word why")
    return Taken()


@cache
def _home(work: Path) -> Path:
    place = work / "home"
    if not place.exists():
        make_home(place, market(1, 3))
    return place


SETTINGS = Target(_GUIDED, setting_seeds, take_settings, mutate_json)
PARAMETERS = Target(_GUIDED, parameter_seeds, take_parameters, mutate_json)
OPTIONS = Target(_GUIDED, option_seeds, take_options, mutate_options)
