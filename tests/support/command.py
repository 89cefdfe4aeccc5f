"""The command line inside this process, and what it says."""

import pytest

from kline_core.cli.parser import main


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and the last line of standard error of a command."""
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err.strip().splitlines()[-1] if err.strip() else ""


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code, out, line = ask(capsys, *words)
    assert (code, out) == (1, "")
    assert line.startswith("kline: ")
    return line
