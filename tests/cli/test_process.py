"""A command as a process: its signals, its streams and its end."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kline_core.cli import parser, process
from kline_core.cli.commands import COMMANDS
from kline_core.cli.parser import main
from tests.support.processes import output_of

ENTRY = "import sys; sys.argv[0] = 'kline'; from kline_core.cli.process import entry; "
HEEDS = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
"""What is started under `nohup`, as these tests may be, ignores the signal, and so do its children."""
COMMAND = (
    "import signal, types; from kline_core.cli.answer import Answer; "
    "sys.modules['kline_core.cli.commands'] = types.SimpleNamespace(COMMANDS={'index': lambda options: %s}); "
)
"""A command in the place of all others, which have heavy libraries to import."""
ANSWER = COMMAND % r"Answer('a \u2212 b \udc80 \xe9', {'a': '\u2212 \udc80 \xe9 \U0001f600'})" + "entry()"
"""It does nothing but answer with what some encodings lack."""
WAITS = COMMAND % "print('at work', flush=True) or signal.pause()" + "entry()"


def env(**more: str) -> dict[str, str]:
    # Buffered, as it is by default: an answer that is not flushed fails only at the interpreter's end.
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | more


def run(code: str, *words: str, shell: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """A command behind a shell, which closes or redirects its streams."""
    command = ["bash", "-c", f'"$@" {shell}', "bash", sys.executable, "-c", ENTRY + code, *words]
    return subprocess.run(command, capture_output=True, text=True, env=env(**more), check=False)


@contextmanager
def at_work(*lines: str, words: Sequence[str] = ("index",)) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", ENTRY + "; ".join([HEEDS, *lines]), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env(),
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "at work\n"
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("words", [["index"], ["--debug", "index"]])
@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminal")]
)
def test_a_signal_ends_a_command_with_one_line_and_its_code(number: int, word: str, words: Sequence[str]) -> None:
    with at_work(WAITS, words=words) as running:
        running.send_signal(number)
        _, err = running.communicate()
    assert running.returncode == 128 + number
    assert re.fullmatch(rf"kline: {word}.*; what was stored before is kept\n", err)


def test_a_signal_while_libraries_are_imported_ends_the_command_quietly() -> None:
    # The import of the commands takes long here, and is not to be begun a second time.
    slow = "class Slow:\n def find_spec(self, name, *_):\n  if name == 'kline_core.cli.commands':\n"
    slow += "   import signal; print('at work', flush=True); signal.pause()\n"
    with at_work(f"exec({slow!r})", "sys.meta_path.insert(0, Slow())", "entry()") as running:
        running.send_signal(signal.SIGINT)
        _, err = running.communicate()
    assert (running.returncode, err) == (130, "kline: interrupted\n")


def test_the_handlers_stand_before_anything_heavy_is_imported() -> None:
    code = "import sys; before = set(sys.modules); import kline_core.cli.process; print(*(set(sys.modules) - before))"
    done = output_of(code)
    assert not {"argparse", "json", "numpy", "pandas"} & set(done.split())


def test_a_signal_that_is_to_be_ignored_is_ignored() -> None:
    with at_work("import signal", "signal.signal(signal.SIGHUP, signal.SIG_IGN)", WAITS) as running:
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGTERM)
        running.communicate()
    assert running.returncode == 143


def test_an_error_that_a_signal_caused_in_foreign_code_is_told_as_the_signal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process._Received, "number", signal.SIGTERM)

    def broken(_: object) -> None:
        raise SystemError("returned a result with an exception set")

    monkeypatch.setitem(COMMANDS, "index", broken)
    for words in (["index"], ["--debug", "index"]):
        assert main(words) == 143
        assert capsys.readouterr().err == "kline: terminated; what was stored before is kept\n"


def test_what_an_interrupted_command_says_of_itself_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt("interrupted while the patterns were replaced; run `kline index` again")

    monkeypatch.setitem(COMMANDS, "index", interrupted)
    assert main(["index"]) == 130
    assert capsys.readouterr().err == ("kline: interrupted while the patterns were replaced; run `kline index` again\n")


@pytest.mark.parametrize("shell", ["<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_no_command_and_lend_their_numbers_to_no_file(shell: str, tmp_path: Path) -> None:
    file = tmp_path / "opened"
    code = f"import atexit; opened = open({str(file)!r}, 'w'); opened.write(str(opened.fileno())); opened.flush(); "
    done = run(
        ANSWER.replace("entry()", f"import kline_core.cli.process as p; p.prepare(); {code}entry()"),
        "index",
        shell=shell,
    )
    assert done.returncode == 0
    assert int(file.read_text()) > 2


def test_an_answer_that_finds_no_room_is_an_error() -> None:
    done = run(ANSWER, "index", shell="> /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("kline: standard output cannot be written (No space left on device); ")
    assert len(done.stderr.splitlines()) == 1


# Unbuffered, or in a terminal, it fails where it is written; else where it is flushed.
@pytest.mark.parametrize("more", [{}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"]])
def test_help_that_finds_no_room_is_an_error(words: Sequence[str], more: dict[str, str]) -> None:
    done = run("entry()", *words, shell="> /dev/full", **more)
    said = "kline: standard output cannot be written (No space left on device); name another place for it\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_notes_that_find_no_room_stop_no_work() -> None:
    code = COMMAND % "print('x' * 99999, file=sys.stderr) or Answer('done', {})" + "entry()"
    done = run(code, "index", shell="2> /dev/full")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert run("entry()", "fly", shell="2> /dev/full").returncode == 2


@pytest.mark.slow
def test_a_stream_without_some_characters_gets_others() -> None:
    plain = {"PYTHONUTF8": "0", "LC_ALL": "C"}
    assert run(ANSWER, "index", PYTHONIOENCODING="ascii", **plain).stdout == "a - b \\udc80 \\xe9\n"
    for encoding in ("ascii", "latin-1", "utf-8"):
        done = run(ANSWER, "index", "--json", PYTHONIOENCODING=encoding, **plain)
        assert json.loads(done.stdout.encode("latin-1") if encoding == "latin-1" else done.stdout) == {
            "a": "− \udc80 é 😀"
        }


@pytest.mark.parametrize("more", [{}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.parametrize("words", [["--help"], ["index"], ["index", "--json"]])
def test_a_reader_that_went_away_is_no_error_to_talk_about(words: Sequence[str], more: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-c", ENTRY + ANSWER, *words]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=env(**more), check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_broken_connection_is_not_taken_for_a_reader_that_went_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setitem(COMMANDS, "index", broken)
    assert main(["index"]) == 1
    assert "kline: the system refuses (Broken pipe)" in capsys.readouterr().err


def test_an_error_of_the_system_names_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> None:
        raise PermissionError(13, "Permission denied", "/some/file")

    monkeypatch.setitem(COMMANDS, "index", refused)
    assert main(["index"]) == 1
    expected = "kline: /some/file cannot be used (Permission denied); name another, or make it usable\n"
    assert capsys.readouterr().err == expected


def test_a_current_folder_that_was_removed_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert main(["--home", "/nowhere", "index"]) == 1
    line = "kline: the current folder has been removed; change to one that is there\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("word", ["a\udcff", "\ud800"])
def test_bytes_that_are_no_text_are_wrong_usage(capsys: pytest.CaptureFixture[str], word: str) -> None:
    for words in (["--home", word, "index"], ["run", word], ["ingest", word], ["export", f"{word}.csv"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert "is not in UTF-8" in capsys.readouterr().err


def test_the_parser_lists_every_command() -> None:
    found = parser.build_parser().format_help()
    assert all(re.search(rf"^    {name} ", found, re.MULTILINE) for name in COMMANDS)
