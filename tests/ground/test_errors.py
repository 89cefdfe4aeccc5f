"""Errors by themselves: their facts where the library raises them, and what is left of both on the way elsewhere."""

import ast
import copy
import doctest
import inspect
import os
import pickle
import sys
import time
from pathlib import Path
from shlex import quote

import numpy as np
import pandas as pd
import pytest

import flows
import kline_core as kl
from flows.local_stack.processes import Part
from flows.local_stack.server import check_port, wait_until
from kline_core import errors
from kline_core._logging import one_line
from kline_core.bars.arrivals import arrivals
from kline_core.bars.bars_cache import table_replaced
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.sessions import session_ordinal
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.compute.opening import open_cluster
from kline_core.compute.tasks import BrokenBatchError
from kline_core.dates import parse_date
from kline_core.encoder.encoder import choose_device
from kline_core.errors import (
    BarsMissingError,
    DateError,
    EncoderError,
    FingerprintError,
    HomeError,
    InputError,
    KlineError,
    RecallError,
    RunFailedError,
    SchedulerError,
    ServerError,
    SettingError,
    SourceError,
    StaleError,
    StartError,
    UnknownSymbolError,
)
from kline_core.factor.batch import LargeBatchError
from kline_core.factor.dates_file import read_dates
from kline_core.patterns.update import RemovalError
from kline_core.search.recall import Recall
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.delta import UnreachableError
from kline_core.store.home import TableChangedError
from kline_core.symbol_lookup import AmbiguousSymbolError
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import SMALL, add_bars, make_home, market, write_encoder

TREE = [
    *(SettingError, InputError, SourceError, HomeError, UnknownSymbolError, DateError, FingerprintError, EncoderError),
    *(BarsMissingError, StaleError, SchedulerError, RecallError, RunFailedError, StartError, ServerError),
]
CLASSES = [
    *(KlineError, *TREE, TableChangedError, UnreachableError, RemovalError, NothingUsableError),
    *(BrokenBatchError, LargeBatchError),
    AmbiguousSymbolError,
]


def test_no_secret_is_in_a_message_or_a_fact(monkeypatch):
    """Whatever raises it: messages are logged, recorded with runs, and shown on pages."""
    monkeypatch.setenv("PREFECT_API_DATABASE_PASSWORD", "hunter22")
    error = SchedulerError("tcp://me:hunt@host:1 said hunter22", address="tcp://me:hunt@host:1")
    assert str(error) == "tcp://***@host:1 said ***"
    assert error.address == "tcp://***@host:1"
    assert one_line(ValueError("hunter22 is no number")) == "ValueError: *** is no number"


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("errors") / "home", market(2, 40), weights=small_weights)


def compute(home, weights, symbols=None, settings=SMALL_SETTINGS, **asked):
    return kl.compute_factor(home, symbols, settings=settings, encoder=weights, device="cpu", threads=1, **asked)


def some_symbol(home):
    return home.read("bars", ["symbol"])["symbol"][0].as_py()


def facts(error):
    """Those that were given."""
    return {name: value for name, value in vars(error).items() if value is not None}


def raised(kind, function, *args, **kwargs):
    with pytest.raises(kind) as caught:
        function(*args, **kwargs)
    assert type(caught.value) is kind
    assert caught.value.args == (str(caught.value),)
    return caught.value


# The tree.


def test_the_docstring_shows_every_class():
    defined = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__]
    assert set(defined) == {KlineError, *TREE}
    for kind in TREE:
        assert kind.__base__ is KlineError
        assert f"── {kind.__name__} " in errors.__doc__


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_and_every_fact_is_documented(kind):
    assert inspect.getdoc(kind)
    body = ast.parse(inspect.getsource(kind)).body[0].body
    for at, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and not node.target.id.startswith("_"):
            documented = body[at + 1]
            assert isinstance(documented, ast.Expr), node.target.id
            assert isinstance(documented.value.value, str), node.target.id


@pytest.mark.parametrize("kind", TREE)
def test_facts_that_are_not_given_are_none(kind):
    declared = inspect.get_annotations(kind)
    assert declared
    assert [getattr(kind("what was wrong"), name) for name in declared] == [None] * len(declared)


def test_the_example_runs_as_it_stands():
    (test,) = doctest.DocTestFinder(recurse=False).find(errors, "errors", globs={"kl": kl})
    said: list[str] = []
    runner = doctest.DocTestRunner()
    assert runner.run(test, out=said.append) == (0, 2), "".join(said)


# What an error is made of.


def test_a_fact_that_is_not_declared_is_refused():
    with pytest.raises(TypeError, match=r"^SettingError has no fact 'home'; it declares bound, parameter, value$"):
        SettingError("top_k is 0", home="somewhere")
    with pytest.raises(TypeError, match=r"^KlineError has no fact 'value'; it declares none$"):
        KlineError("top_k is 0", value=0)


def test_a_class_has_the_facts_of_the_one_above_it_and_no_others():
    assert TableChangedError("changed", home="here", table="bars").table == "bars"
    with pytest.raises(TypeError, match="RecallError has no fact 'table'"):
        RecallError("too small", table="bars")


def test_facts_are_no_part_of_the_text():
    error = DateError("day is soon", parameter="day", value="soon")
    assert (str(error), error.args, repr(error)) == ("day is soon", ("day is soon",), "DateError('day is soon')")


@pytest.mark.parametrize("kind", [each for each in CLASSES if each is not NothingUsableError])
@pytest.mark.parametrize("through", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
def test_facts_outlive_the_way_to_another_process(kind, through):
    given = {name: [kind.__name__, name] for name in kind._declared}
    error = kind("what was wrong", **given)
    error.add_note("a note")
    back = through(error)
    assert type(back) is kind
    assert (str(back), back.args) == ("what was wrong", ("what was wrong",))
    assert vars(back) == given | {"__notes__": ["a note"]}


def test_a_message_made_from_a_fact_is_not_made_again(tmp_path):
    (tmp_path / "A.csv").write_text("date\n")
    error = raised(NothingUsableError, kl.ingest, tmp_path / "home", tmp_path / "A.csv")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is NothingUsableError
    assert str(back) == str(error) == f"nothing could be ingested: {error.report.errors[0]}"
    assert back.report.errors == error.report.errors


def test_facts_come_back_from_a_worker_in_another_process(bench, elsewhere):
    days = bench.home.read("bars", ["date"])["date"].to_pylist()
    before = np.datetime64(min(days)) - 1
    error = raised(
        DateError,
        kl.compute_factor,
        bench.home,
        as_of=before,
        settings=bench.settings,
        encoder=bench.weights,
        device="cpu",
        scheduler=elsewhere,
    )
    assert facts(error) == {"parameter": "as_of", "value": before}


# Facts where the library raises.


@pytest.mark.parametrize(
    ("make", "given", "says"),
    [
        (
            lambda: FactorSettings(top_k=0),
            {"parameter": "top_k", "value": 0, "bound": "at least 1"},
            "top_k is 0; it must be at least 1",
        ),
        (
            lambda: FactorSettings(mode="slow"),
            {"parameter": "mode", "value": "slow", "bound": "one of 'fast', 'full'"},
            "mode is 'slow'; only 'fast', 'full' are available",
        ),
        (
            lambda: Settings(PatternSettings(horizons=(1, 3)), FactorSettings(return_horizon=5)),
            {"parameter": "return_horizon", "value": 5, "bound": "one of the horizons (1, 3)"},
            "return_horizon is 5; it must be one of the horizons (1, 3)",
        ),
        (
            lambda: check_port(0),
            {"parameter": "--port", "value": 0, "bound": "between 1 and 65535"},
            "--port is 0; it must be between 1 and 65535",
        ),
        (
            lambda: open_cluster(threads=300).__enter__(),
            {"parameter": "threads", "value": 300, "bound": "between 1 and 256"},
            "threads is 300; it must be between 1 and 256",
        ),
    ],
)
def test_settings(make, given, says):
    error = raised(SettingError, make)
    assert facts(error) == given
    assert str(error) == says


def test_settings_of_a_run(bench):
    error = raised(SettingError, compute, bench.home, bench.weights, samples=0)
    assert facts(error) == {"parameter": "samples", "value": 0, "bound": "at least 1"}


def test_input(tmp_path):
    missing = tmp_path / "missing.csv"
    assert facts(raised(InputError, kl.ingest, tmp_path / "home", missing)) == {"source": str(missing)}

    bad = tmp_path / "dates.csv"
    bad.write_text("symbol,date\nA,2020-01-06\nA,soon\n")
    error = raised(InputError, read_dates, bad)
    assert facts(error) == {"source": str(bad), "row": 3, "column": "date", "value": "soon"}
    assert str(error).startswith(f"{bad}, row 3: date is 'soon', which is no date; ")

    dates = pd.DataFrame({"day": ["2005-03-01"], "asset": "AAPL"})
    assert facts(raised(InputError, kl.compute_factor, make_home(tmp_path / "h", market(1, 5)), dates=dates)) == {
        "column": "date"
    }


def test_input_of_bars(tmp_path):
    twice = pd.concat([market(1, 5)] * 2)
    error = raised(InputError, bars_by_symbol, twice)
    assert facts(error) == {"column": "date", "value": np.datetime64("2020-01-06")}

    path = tmp_path / "A.csv"
    head, row = "date,open,high,low,close,volume\n", "2020-01-0{},1,1,1,1,1\n"
    path.write_bytes((head + row.format(6)).encode() + b"\x81" + row.format(7).encode())
    report = raised(NothingUsableError, kl.ingest, tmp_path / "home", path).report
    assert report.errors == [f"{path}: line 3 is not UTF-8 text; convert the file to UTF-8"]


def test_homes(tmp_path, bench):
    nowhere = str(tmp_path / "nowhere")
    error = raised(HomeError, kl.Home, nowhere)
    assert facts(error) == {"home": nowhere}
    home = bench.home
    assert facts(raised(HomeError, home.create, "bars", {})) == {"home": home.uri, "table": "bars"}
    assert facts(raised(HomeError, home.read, "bars", version=99)) == {"home": home.uri, "table": "bars"}
    error = raised(TableChangedError, home.append, "bars", home.read("bars").slice(0, 1), expected_version=0)
    assert facts(error) == {"home": home.uri, "table": "bars"}


def test_unknown_symbols(bench):
    error = raised(UnknownSymbolError, compute, bench.home, bench.weights, [some_symbol(bench.home), "NOPE", "ALAS"])
    assert facts(error) == {"symbols": ["ALAS", "NOPE"], "home": bench.home.uri}
    assert str(error) == (
        f"symbols 'ALAS', 'NOPE' have no bars in {bench.home.uri}, which holds 2 symbols; "
        "ingest them or check the names"
    )


@pytest.mark.parametrize("value", ["soon", "", "2020-02-30", 20201301, True, None, pd.NaT, "1799-01-01"])
def test_dates_that_are_none(value):
    assert facts(raised(DateError, parse_date, value, "--first")) == (
        {"parameter": "--first"} | ({} if value is None else {"value": value})
    )


def test_dates_of_a_calendar():
    saturday = np.datetime64("2024-10-05")
    error = raised(DateError, session_ordinal, np.array([saturday]), "XNYS")
    assert facts(error) == {"value": saturday, "calendar": "XNYS"}


def test_dates_of_a_symbol(bench):
    symbol = some_symbol(bench.home)
    asked = {"settings": bench.settings, "encoder": bench.weights, "device": "cpu"}
    error = raised(DateError, kl.explain, bench.home, symbol, "1999-01-04", **asked)
    assert facts(error) == {"parameter": "date", "value": "1999-01-04", "symbol": symbol}


def test_fingerprints(bench):
    other = Settings(PatternSettings(window_bars=5, horizons=(1, 3), barrier_bars=3), bench.settings.factor)
    error = raised(FingerprintError, compute, bench.home, bench.weights, settings=other)
    assert error.differences == {"barrier_bars": (SMALL.barrier_bars, 3)}
    assert error.home == bench.home.uri
    assert error.stored == [bench.home.description("patterns")["fingerprint"]] != [error.fingerprint]
    assert f"made with barrier_bars {SMALL.barrier_bars} (now asked for: 3); ask for the same" in str(error)


@pytest.mark.slow
def test_fingerprints_of_values(bench, tmp_path):
    copied = bench.copy(tmp_path)
    made = compute(copied.home, copied.weights, samples=5, max_failed_share=1).fingerprint
    error = raised(FingerprintError, kl.read_factor, copied.home, fingerprint="none")
    assert facts(error) == {"home": copied.home.uri, "fingerprint": "none", "stored": [made]}


@pytest.mark.slow
def test_encoders(tmp_path):
    nowhere = str(tmp_path / "nowhere.safetensors")
    assert facts(raised(EncoderError, kl.Encoder.load, nowhere)) == {"path": nowhere}
    assert facts(raised(EncoderError, choose_device, "abacus")) == {"device": "abacus"}

    seen = str(write_encoder(tmp_path / "seen.safetensors", trained_through="2030-01-01"))
    later = Bench.of(tmp_path / "home", market(1, 40), weights=seen)
    error = raised(
        EncoderError,
        kl.explain,
        later.home,
        some_symbol(later.home),
        settings=later.settings,
        encoder=seen,
        device="cpu",
    )
    assert facts(error) == {"path": seen, "trained_through": np.datetime64("2030-01-01")}


def test_bars_that_are_missing(tmp_path):
    frame = market(2, 30)
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[(frame["symbol"] != frame["symbol"].iloc[0]) | (frame["date"] < last)])
    session = np.datetime64(last, "D")
    error = raised(BarsMissingError, arrivals(home, "XNYS", session).check, 0.2)
    assert facts(error) == {
        "calendar": "XNYS",
        "session": session,
        "missing": [frame["symbol"].iloc[0]],
        "expected": 2,
    }


@pytest.mark.slow
def test_stale_tables(bench, tmp_path):
    copied = bench.copy(tmp_path)
    add_bars(copied.home, market(1, 12, prefix="NEW"))
    error = raised(StaleError, compute, copied.home, copied.weights)
    assert facts(error) == {"home": copied.home.uri, "missing": 3, "invalid": 0}
    assert str(error) == (
        f"the patterns of {copied.home.uri} lag behind its bars (3 windows missing, 0 no longer valid); "
        f"run `kline index --window-bars 5 --horizons 1,3 --barrier-bars 4 --encoder {quote(str(copied.weights))}`"
    )
    assert facts(table_replaced("here")) == {"home": "here"}


def test_schedulers():
    error = raised(SchedulerError, open_cluster("nonsense://nowhere").__enter__)
    assert facts(error) == {"address": "nonsense://nowhere"}


def test_recall():
    error = raised(RecallError, Recall(share=0.9, asked=100, top_k=20, probes=4, trained=10).check, 0.99)
    assert facts(error) == {"recall": 0.9, "min_recall": 0.99}


@pytest.mark.slow
def test_runs_of_which_too_much_failed(bench, tmp_path):
    copied = bench.copy(tmp_path)
    error = raised(RunFailedError, compute, copied.home, copied.weights, samples=600, max_failed_share=0)
    report = error.result.report
    assert error.report is report
    assert error.failed_share == report.count("failed") / report.count("samples") > 0
    assert error.reasons == report.reasons
    assert sum(error.reasons.values()) == report.count("failed")
    assert error.symbols is None
    back = pickle.loads(pickle.dumps(error))
    assert back.report == report
    assert back.result.values.equals(error.result.values)


@pytest.mark.slow
def test_runs_without_a_sample(tmp_path, small_weights):
    home = make_home(tmp_path / "home", market(1, 3))
    error = raised(RunFailedError, compute, home, small_weights)
    assert error.symbols == [some_symbol(home)]
    assert error.failed_share is None


def test_programs_that_do_not_start(tmp_path):
    part = Part("some part", [sys.executable, "-c", "raise SystemExit(3)"], os.environ, tmp_path)
    part.start()
    error = raised(StartError, wait_until, lambda: False, part, time.sleep)
    assert facts(error) == {"part": "some part", "code": 3, "log": part.log}
    assert str(error) == f"the some part ended with code 3 (); see {part.log}"


PACKAGES = [Path(package.__file__).parent for package in (kl, flows)]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(path for each in PACKAGES for path in each.rglob("*.py")), ids=str)
def test_no_error_is_raised_with_a_fact_that_it_does_not_declare(path):
    """A slip there would show only on the day on which something else goes wrong."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind = {each.__name__: each for each in CLASSES}.get(node.func.id)
            if kind is not None:
                assert {each.arg for each in node.keywords} <= kind._declared, node.lineno
