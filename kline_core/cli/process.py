"""The process of a command: what a signal does to it, its standard streams, and its end.

Imports next to nothing, so that the handlers are installed before anything else is loaded.
"""

import codecs
import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from kline_core._secrets import masked
from kline_core._text import harmless

STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminal closed"}
"""Signals that stop a command, each with the word for it. The exit code is 128 and the signal's number."""
_PLAIN = str.maketrans({"−": "-", "×": "x", "→": "->", "–": "-", "…": "..."})


class StopSignal(KeyboardInterrupt):
    """A signal asks the command to stop; raised in the main thread, wherever it is."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _Received:
    """What has come so far."""

    number: int | None = None
    at_work = False


_WITH_PREFECT = {"demo", "up"}


def entry() -> NoReturn:
    """Entry point of the command `kline`: prepares the process, runs the command, and ends the process."""
    prepare()
    _be_quiet_outside()
    from kline_core.cli.parser import main

    try:
        code = main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    except Exception:  # noqa: BLE001  what --debug lets through, shown as Python would, without secrets
        import traceback

        with suppress(OSError, ValueError):
            print(masked(traceback.format_exc()), end="", file=sys.stderr)
        code = 1
    end(code)


def _be_quiet_outside() -> None:
    """Restart the process with DO_NOT_TRACK=1, which Prefect reads when it is imported.

    Otherwise Prefect, in a terminal, would send telemetry of its first use. A restart, since no code here changes the
    environment of a running process.
    """
    if "DO_NOT_TRACK" not in os.environ and _WITH_PREFECT & set(sys.argv[1:]):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "DO_NOT_TRACK": "1"})


def prepare() -> None:
    """Install the handlers of signals, and make the standard streams usable whatever they were opened as."""
    for number in STOPS:
        # `nohup` and a shell's background ignore some; that is meant.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    _fill_closed()
    codecs.register_error("kline", _legible)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="kline")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Notes(sys.stderr)


def begin_work() -> None:
    """From here on a first signal raises `StopSignal`, so that work can be ended in order; before, it ends at once."""
    _Received.at_work = True


def stopped_by() -> int | None:
    """Number of the signal that came; None if none did."""
    return _Received.number


def end(code: int) -> NoReturn:
    """End the process without the interpreter's shutdown.

    Native threads (Delta's runtime, Arrow's pools) that still run during that shutdown abort the process now and then
    ("terminate called without an active exception"), and a job that has done all its work would end with signal 6.
    """
    # Nothing is left that a signal would have to end in order.
    _Received.at_work = False
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 1
    except (OSError, ValueError) as error:
        say(f"standard output cannot be written ({getattr(error, 'strerror', None) or error})")
        code = code or 1
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def say(message: str) -> None:
    """Print one line on standard error; where nobody can read it, nothing."""
    with suppress(OSError, ValueError):
        print(f"kline: {harmless(masked(' '.join(message.split())))}", file=sys.stderr, flush=True)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature of handlers
    again, _Received.number = _Received.number is not None, number
    if not _Received.at_work:
        say(STOPS[signal.Signals(number)])
    if again or not _Received.at_work:
        os._exit(128 + number)
    raise StopSignal(number)


def _fill_closed() -> None:
    """Open what is closed of the descriptors 0 to 2: the next file to be opened, a table's, would take the number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  a descriptor, for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _legible(error: UnicodeError) -> tuple[str, int]:
    """Characters that a stream's encoding lacks: their plain sisters, or else escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    plain = part.translate(_PLAIN)
    return plain.encode("ascii", "backslashreplace").decode(), error.end


class _Notes(io.TextIOWrapper):
    """Standard error, whose loss (a full disk, a reader that went away) stops no work."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(stream.buffer, encoding=stream.encoding, errors="kline", line_buffering=True)
        # Otherwise it would close the buffer that both share.
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()
