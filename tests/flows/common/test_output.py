"""Whatever a flow run's process writes once nobody reads it: in processes of their own, whose pipes are closed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.prefect_server import environment

WAYS = {
    "the console log": "get_logger('engine').warning('said'); logging.getLogger('distributed').error('said')",
    "print": "print('said', flush=True); print('said' * 100_000)",
    "progress bars": "[None for _ in tqdm(range(100), mininterval=0)]",
    "warnings": "warnings.warn('said')",
    "tracebacks": "traceback.print_exc(); sys.excepthook(ValueError, ValueError('said'), None)",
    "other threads": "thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()",
    "faulthandler": "faulthandler.enable(); faulthandler.dump_traceback()",
    "native code": "libc = ctypes.CDLL(None); libc.perror(b'said'); libc.puts(b'said'); libc.fflush(None)",
    "rich": "rich.print('said'); rich.console.Console(stderr=True).print('said')",
}
CODE = """
import ctypes, faulthandler, logging, sys, threading, traceback, warnings
import rich.console
from tqdm import tqdm
import prefect
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
setup_logging()
import distributed
import flows
print("ready", flush=True)
sys.stdin.read()
{way}
{way}
get_logger("engine").warning("at last")
"""


def left_alone(way: str, folder: Path, **env: str) -> int:
    """Exit code of a process that writes after the reader of its pipes has gone."""
    command = [sys.executable, "-c", CODE.format(way=way)]
    env = environment(folder) | env
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=folder) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"ready\n"
        running.stdout.close()
        running.stderr.close()
        running.stdin.close()
        return running.wait(120)


@pytest.mark.flows
@pytest.mark.long
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_process_whose_reader_is_gone_goes_on(tmp_path: Path, way: str) -> None:
    assert left_alone(way, tmp_path, PREFECT__FLOW_RUN_ID="one") == 0


@pytest.mark.long
@pytest.mark.flows
@pytest.mark.slow
def test_all_at_once_and_into_the_log_of_the_worker(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "worker.log"
    log.parent.mkdir()
    log.write_text("before\n")
    assert left_alone("\n".join(WAYS.values()), tmp_path, PREFECT__FLOW_RUN_ID="one") == 0
    text = log.read_text()
    assert text.startswith("before\n")
    console = ("WARNING | prefect.engine - said", "WARNING | prefect.engine - at last")
    for said in (*console, "UserWarning: said", "ValueError: said", "100/100", "ZeroDivisionError"):
        assert said in text, text
    # Native code as well, once something else was written.
    assert "said: " in text
    assert "(most recent call first)" in text


@pytest.mark.flows
@pytest.mark.slow
def test_a_full_disk_beneath_the_log_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker.log").symlink_to("/dev/full")
    assert left_alone(WAYS["print"], tmp_path, PREFECT__FLOW_RUN_ID="one") == 0


@pytest.mark.flows
@pytest.mark.long
def test_a_process_that_is_no_flow_run_is_left_as_it_is(tmp_path: Path) -> None:
    assert left_alone(WAYS["print"], tmp_path) != 0


@pytest.mark.flows
@pytest.mark.slow
def test_the_reader_hears_everything_while_it_is_there(tmp_path: Path) -> None:
    env = environment(tmp_path) | {"PREFECT__FLOW_RUN_ID": "one"}
    command = [sys.executable, "-c", CODE.format(way=WAYS["the console log"])]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, input="", timeout=120)
    assert done.returncode == 0
    assert done.stdout == "ready\n"
    assert done.stderr.count("said") == 4
    assert done.stderr.rstrip().endswith("at last")
