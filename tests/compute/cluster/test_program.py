"""Workers that run other code than their client."""

import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import kline_core
from kline_core import _code
from kline_core.compute import program as module
from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.compute.program import Program, ProgramError, check_once
from kline_core.compute.run import run_symbols
from kline_core.errors import SchedulerError
from tests.support.processes import scheduler_process
from tests.support.runs import overheard

PACKAGE = Path(kline_core.__file__).parent


@pytest.fixture
def other_code(monkeypatch):
    """From now on this process asks for other code than it has."""

    def ask():
        other = replace(Program.of_client(), code="0" * 16)
        monkeypatch.setattr(Program, "of_client", classmethod(lambda _: other))

    yield ask
    check_once.cache_clear()


def copy(folder):
    return shutil.copytree(PACKAGE, folder / "kline_core", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.cluster
def test_a_worker_of_a_changed_copy_computes_nothing(bench, tmp_path):
    with (copy(tmp_path) / "windows" / "outcomes.py").open("a") as file:
        file.write("\n\n_CHANGED = True\n")
    home = bench.copy(tmp_path / "home")
    with scheduler_process(tmp_path, PYTHONPATH=str(tmp_path)) as (address, _), open_cluster(address) as cluster:
        (worker,) = cluster.workers
        says = (
            rf"^the worker at {worker} runs other code \(version {kline_core.__version__}, code \w{{16}}\) than this "
            rf"process \(version {kline_core.__version__}, code {_code.CODE}\), so it computed nothing; .* start the "
            "workers again"
        )
        with pytest.raises(SchedulerError, match=says) as raised:
            home.run(cluster, samples=5)
        assert raised.value.address == worker
        assert not cluster.lost
        with pytest.raises(SchedulerError, match=says):
            cluster.update_patterns(home.home, home.settings.patterns, home.weights, "cpu")
    assert home.home.version("factors") is None


@pytest.mark.slow
def test_a_run_ends_at_the_first_worker_of_other_code(bench, in_process, tmp_path, other_code):
    home = bench.copy(tmp_path / "home")
    run = home.start(in_process, samples=10)
    run.score(run.symbols[:1])
    other_code()
    with pytest.raises(ProgramError, match=r"runs other code"):
        run_symbols(run)
    assert run.unreported() == run.symbols[1:]
    assert len(home.rows("factors")) == 10


def test_every_call_is_checked(bench, in_process, other_code):
    other_code()
    key = bench.key
    for function, arguments in (
        (tasks.overview, (key,)),
        (tasks.plan, (key, ["S00000"], 5, None)),
        (tasks.picture, (key, "S00000", None)),
        (tasks.update, (key.bars, key.settings.patterns, key.encoder, 1, 1)),
    ):
        with pytest.raises(ProgramError, match=r"runs other code"):
            in_process.call(function, *arguments)


def test_other_libraries_are_said_once(in_process, monkeypatch):
    program = Program.of_client()
    libraries = (("numpy", "1.0"), ("torch", dict(program.libraries)["torch"]), ("unknown", "1"))
    monkeypatch.setattr(Program, "of_client", classmethod(lambda _: replace(program, libraries=libraries)))
    cluster, said = overheard(in_process)
    cluster = replace(cluster, client=in_process.client)
    in_process.client.subscribe_topic(cluster.topic, lambda event: said.append(tuple(event[1])))
    for _ in range(3):
        assert cluster.call(abs, -1) == 1
    in_process.client.unsubscribe_topic(cluster.topic)
    (worker,) = cluster.workers
    assert said == [
        (
            logging.WARNING,
            f"the worker at {worker} has numpy {dict(program.libraries)['numpy']} (here 1.0); values may differ in "
            "their last digits, so install the same versions",
        )
    ]


@pytest.mark.parametrize("address", [None, "tcp://127.0.0.1:1"])
def test_a_process_whose_package_was_replaced_says_so(monkeypatch, address):
    module._check_unchanged.cache_clear()
    monkeypatch.setattr(_code, "code_hash", lambda: "1" * 16)
    who = "this process" if address is None else f"the worker at {address}"
    says = (
        rf"replaced after {who} had begun \(code {_code.CODE} then, {'1' * 16} now\), .*start .* again and run again$"
    )
    with pytest.raises(ProgramError, match=says):
        module._check_unchanged(address)
    monkeypatch.undo()
    module._check_unchanged(address)


def test_all_that_makes_values_is_loaded_before_it_is_checked():
    """Imports inside functions come later, and may then find another file."""
    module._check_loaded("tcp://127.0.0.1:1")
    lazy = {
        "factor.state",
        "factor.scoring",
        "factor.explain",
        "patterns.encode",
        "search.ivf_index",
    }
    assert {f"kline_core.{name}" for name in lazy} <= sys.modules.keys()


def test_a_call_that_loads_more_of_the_package_has_it_compared_again(monkeypatch):
    address, hashes = "tcp://127.0.0.1:2", []
    real = _code.code_hash
    monkeypatch.setattr(_code, "code_hash", lambda: hashes.append(1) or real())
    module.check_loaded_since(address)
    module.check_loaded_since(address)
    assert len(hashes) == 1
    monkeypatch.setitem(sys.modules, "kline_core.loaded_later", sys)
    monkeypatch.setattr(_code, "code_hash", lambda: "1" * 16)
    with pytest.raises(ProgramError, match="replaced after the worker at"):
        module.check_loaded_since(address)
