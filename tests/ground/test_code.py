"""The hash of the code that makes values."""

import compileall
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest

import kline_core
from kline_core import _code
from tests.support.processes import output_of

PACKAGE = Path(kline_core.__file__).parent


@pytest.fixture
def package(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    return shutil.copytree(PACKAGE, tmp_path / "kline_core", ignore=ignored)


def append(file, text="\nX = 1\n"):
    file.write_text(file.read_text() + text)


def test_it_is_that_of_the_sources_wherever_they_lie(package):
    assert _code.code_hash() == _code.code_hash(package) == _code.CODE


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["windows/outcomes.py", "search/__init__.py", "settings.py", "compute/tasks.py", "_hashing.py"]
)
def test_what_makes_values_counts(package, part):
    append(package / part)
    assert _code.code_hash(package) != _code.CODE


def test_a_new_and_a_missing_module_count(package):
    (package / "windows" / "new.py").write_text("")
    with_new = _code.code_hash(package)
    (package / "windows" / "new.py").unlink()
    (package / "windows" / "outcomes.py").unlink()
    assert len({with_new, _code.code_hash(package), _code.CODE}) == 3


@pytest.mark.parametrize("part", ["cli/parser.py", "plots/style.py", "evaluation/evaluate.py", "__init__.py"])
def test_what_makes_none_does_not(package, part):
    append(package / part)
    assert _code.code_hash(package) == _code.CODE


def test_line_ends_do_not_count(package):
    for file in package.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert _code.code_hash(package) == _code.CODE


@pytest.mark.slow
def test_in_a_zip_file(package, tmp_path):
    with ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in package.rglob("*.py"):
            archive.write(file, file.relative_to(tmp_path))
    assert _code.code_hash(tmp_path / "package.zip" / "kline_core") == _code.CODE


@pytest.mark.slow
def test_without_sources_the_bytecode_counts(package):
    """A second build of it, too, whenever its source was written; a changed one differs."""
    found = []
    for changed in (False, False, True):
        copy = shutil.copytree(package, package.parent / f"build-{len(found)}" / "kline_core")
        if changed:
            append(copy / "windows" / "outcomes.py")
        compileall.compile_dir(copy, quiet=2, legacy=True, stripdir=copy.parent)
        for file in copy.rglob("*.py"):
            file.unlink()
        found.append(_code.code_hash(copy))
    assert found[0] == found[1] != found[2]
    assert found[0] != _code.CODE


def test_it_is_taken_before_any_module_is_loaded():
    code = (
        "import sys, kline_core; "
        "print(*sorted(name for name in sys.modules if name.startswith('kline_core.') and name != 'kline_core._code'))"
    )
    done = output_of(code)
    assert done.split() == []
