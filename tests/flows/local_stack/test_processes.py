import os
import signal
import sys
from pathlib import Path

import pytest

from flows.local_stack.processes import MARK, Part, end_all, marked
from kline_core.errors import StartError
from tests.support.processes import poll


def test_the_folder_of_a_home_that_has_gone_is_not_made_again(tmp_path: Path) -> None:
    part = Part("some part", [sys.executable, "-c", ""], {}, tmp_path / "home" / "prefect")
    with pytest.raises(StartError, match=r"^the some part cannot be started: its folder .*prefect is gone; restore"):
        part.start()
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_programs_are_found_by_their_mark_and_ended(tmp_path: Path) -> None:
    # The second does not end when it is asked to, and its parent is gone.
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    parent = f"import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', {deaf!r}]); signal.pause()"
    part = Part("some part", [sys.executable, "-c", parent], os.environ | {MARK: str(tmp_path)}, tmp_path)
    assert part.code is None
    assert not part.alive
    part.start()
    poll(lambda: part.log.read_text() == "deaf\n", "both programs")
    assert part.log.name == "some-part.log"
    assert len(marked(tmp_path)) == 2
    assert marked(tmp_path, flow_runs_only=True) == []
    assert marked(tmp_path / "other") == []
    part.end(10)
    assert part.code == -signal.SIGTERM
    left = marked(tmp_path)
    assert len(left) == 1
    end_all(left, lambda: 0.0)
    assert marked(tmp_path) == []
    part.end(10)
