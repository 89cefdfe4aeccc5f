"""The public face: what it exports, and that every example in its docstrings runs."""

import doctest
import inspect
import shutil
from importlib import import_module

import pytest

import kline_core as kl
from tests.support.processes import output_of

FUNCTIONS = [name for name in kl.__all__ if inspect.isfunction(getattr(kl, name))]


def test_the_exported_names():
    assert kl.__all__ == [
        *("Encoder", "FactorSettings", "Home", "PatternSettings", "Settings"),
        *("check", "compare", "compare_baselines", "compute_factor", "context", "errors", "evaluate", "explain"),
        *("fetch", "history", "ingest", "load_us_stocks"),
        *("read_factor", "release_jump", "render_charts", "study", "update_patterns", "verify"),
    ]
    assert set(kl.__all__) <= set(dir(kl))
    for name in kl.__all__:
        assert getattr(kl, name).__doc__, name


def test_a_name_that_is_not_exported_is_answered_with_those_that_are():
    with pytest.raises(AttributeError, match="no attribute 'nothing'; its public names are Encoder, "):
        kl.nothing  # noqa: B018


def test_importing_the_face_loads_nothing_heavy():
    code = (
        "import sys, kline_core; print(*sorted({'pandas', 'torch', 'faiss', 'dask', 'matplotlib'} & set(sys.modules)))"
    )
    done = output_of(code)
    assert done.split() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples_run_as_they_stand(name, made, tmp_path):
    function = getattr(kl, name)
    # What one example stores is no business of the next, in whatever order they run.
    home = kl.Home(shutil.copytree(made, tmp_path / "home"))
    (tmp_path / "files").mkdir()
    tests = doctest.DocTestFinder(recurse=False).find(
        function, name, globs={"kl": kl, "home": home, "folder": tmp_path / "files"}
    )
    assert sum(len(test.examples) for test in tests) > 0, "every function of the face has an example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_examples_of_the_package_and_the_classes(home):
    for module in ("kline_core", "kline_core.settings", "kline_core.store.home", "kline_core.encoder.encoder"):
        tests = doctest.DocTestFinder(recurse=True).find(import_module(module), module, globs={"kl": kl, "home": home})
        runner, said = doctest.DocTestRunner(), []
        for test in tests:
            if test.examples:
                runner.run(test, out=said.append)
        assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_name_every_parameter(name):
    function = getattr(kl, name)
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}:" in function.__doc__ or f"`{parameter}`" in function.__doc__, parameter
