"""Every option of every command with values that nobody should give: one line that says so, never a surprise."""

import argparse
import re
from pathlib import Path

import pytest

from kline_core.api import plan
from kline_core.cli.parser import build_parser, main
from kline_core.compute import standing
from kline_core.encoder.synthetic import random_walk

VALUES = ["", "-1", "1e400", "nan", "9" * 30, "9" * 5000, "~nosuchuser/x", "x" * 300]
VALUES += ["a\nb", "--", "\udcff"]
NEEDED = {"match": ["NOPE"], "export": ["out.xlsx"], "train": ["--out", "weights.bin"], "ingest": ["nowhere.csv"]}
"""What a command needs beside the option that is tried; refused as well, so that no work is done."""
QUIET, PROGRAMS = {"help", "version"}, {"demo", "up"}
"""Options that only print, and commands that would start a server."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("absurd") / "home"
    file = place.parent / "bars.csv"
    random_walk(1, 25, seed=5).to_frame().to_csv(file, index=False)
    assert main(["--home", str(place), "ingest", str(file)]) == 0
    return place


def commands() -> dict[str, argparse.ArgumentParser]:
    group = next(each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(group.choices)


def options() -> list[tuple[str, str]]:
    return [
        (name, action.option_strings[-1] if action.option_strings else "")
        for name, parser in commands().items()
        for action in parser._actions
        if name not in PROGRAMS and action.dest not in QUIET and action.nargs != 0
    ]


@pytest.mark.long
@pytest.mark.parametrize(("command", "option"), options())
def test_absurd_values_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    home: Path,
    command: str,
    option: str,
) -> None:
    monkeypatch.setattr(standing, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(plan, "PATTERNS", 500)
    monkeypatch.delenv("KLINE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    place = str(home)
    for value in VALUES:
        given = [f"{option}={value}"] if option else [value]
        words = ["--home", place, command, *(NEEDED.get(command, []) if option else []), *given]
        try:
            code: object = main(words)
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.strip() and not re.match(r"\r?(index|run|ingest): ", line)]
        assert code in (0, 1, 2), words
        assert "unexpected" not in err, words
        assert "Traceback" not in err, words
        if code:
            assert (out, len(lines)) == ("", 1) or command in ("run", "verify", "doctor"), (words, err)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["train", "--out", "w.safetensors", "--seed", "-1"], "seed is -1; it must be between 0 and 4294967294"),
        (["train", "--out", "w.safetensors", "--seed", "9" * 30], "it must be between 0 and 4294967294"),
        (["train", "--out", "w.safetensors", "--steps", "1" + "0" * 30], "steps is 1000000000000000000000000000000"),
        (["train", "--out", "w.safetensors", "--device", "hpu"], "device 'hpu' cannot be used"),
        (["train", "--out", "x" * 300 + ".safetensors"], "cannot be used (File name too long); name another file"),
        (["index", "--device", "hpu"], "device 'hpu' cannot be used"),
        (["index", "--encoder", "~nosuchuser/x"], "~nosuchuser/x cannot be read (there is no such user)"),
        (["demo", "--samples", "1" + "0" * 30], "samples is 1000000000000000000000000000000; it must be"),
        (["run", "--samples", "1" + "0" * 30], "samples is 1000000000000000000000000000000; it must be"),
    ],
)
def test_absurd_values_are_named_before_any_work(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    home: Path,
    words: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*(["--home", str(home)] if words[0] != "demo" else []), *words]) == 1
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
