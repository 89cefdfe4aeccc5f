"""Child programs: started with a log of their own, marked, found again, and ended.

Every program that is started here carries the home's folder in its environment (`MARK`), and so do its descendants. The
mark finds them again even if the processes between were killed.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from kline_core.errors import StartError

MARK = "KLINE_UP"
"""Environment variable that names the home for which a program was started."""
FLOW_RUN = "PREFECT__FLOW_RUN_ID"
"""Environment variable that names the flow run on which a process works."""
_POLL = 0.05


class Part:
    """One child program of several that belong together."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path, cwd: Path | None = None
    ) -> None:
        """Describe the program; `start` runs it in `cwd` (or `folder`), its output added to a log in `folder/logs`."""
        self.name = name
        self.log = folder / "logs" / f"{name.replace(' ', '-')}.log"
        self._command, self._env, self._cwd = list(command), dict(env), cwd or folder
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def start(self) -> None:
        """Start the program, in a session of its own, so that a Ctrl-C in the terminal reaches only its parent.

        Raises `StartError` if its folder is gone, with the home around it.
        """
        try:
            # For their owner alone: what programs of others write there cannot be masked.
            self.log.parent.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError as error:
            folder = self.log.parent.parent
            raise StartError(
                f"the {self.name} cannot be started: its folder {folder} is gone; restore the home from a copy, or "
                "make it again with `kline ingest`, and start again",
                part=self.name,
                log=self.log,
            ) from error
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as out:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Process id of the newest start; None before the first."""
        return None if self._process is None else self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code after the program has ended; None before."""
        return None if self._process is None else self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def end(self, patience: float) -> None:
        """Ask the program to end, and kill it after `patience` seconds."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """Last three lines of the log, in one line."""
        with suppress(OSError):
            lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
            return " | ".join([line for line in lines if line][-3:])
        return ""


def marked(home: Path, flow_runs_only: bool = False) -> list[psutil.Process]:
    """Programs that were started for a home, all or only flow runs; without this process."""
    found = []
    for process in psutil.process_iter():
        # Other users' programs hide their environment, and ended ones have none.
        with suppress(psutil.Error, OSError):
            environ = process.environ()
            ours = environ.get(MARK) == str(home) and process.pid != os.getpid()
            if ours and (FLOW_RUN in environ or not flow_runs_only):
                found.append(process)
    return found


def end_all(processes: Sequence[psutil.Process], patience: Callable[[], float]) -> None:
    """Ask programs to end, and kill the ones still running once no patience is left.

    Args:
        processes: Programs to end. psutil knows them by process id and start time, so that a reused id is safe.
        patience: Returns the seconds left to wait; called again and again.
    """
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    while patience() > 0 and any(_runs(process) for process in processes):
        time.sleep(_POLL)
    for process in processes:
        with suppress(psutil.Error):
            if _runs(process):
                process.kill()
    psutil.wait_procs(list(processes), timeout=5)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
