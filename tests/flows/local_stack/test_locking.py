import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.local_stack.locking import locked, write_note
from kline_core.errors import HomeError


def test_a_home_is_locked_once(tmp_path: Path) -> None:
    with locked(tmp_path) as folder:
        write_note(folder, {"ui": "http://127.0.0.1:1"})
        who = rf"\(process {os.getpid()}\) at http://127.0.0.1:1; .* `kill {os.getpid()}`"
        with pytest.raises(HomeError, match=who), locked(tmp_path):
            pass
        assert (folder / "up.json").exists()
    assert list((tmp_path / "prefect").iterdir()) == []
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("left_open", [False, True], ids=["new", "of an earlier version"])
def test_the_folder_is_its_owners_alone(tmp_path: Path, left_open: bool) -> None:
    if left_open:
        (tmp_path / "prefect").mkdir()
        (tmp_path / "prefect").chmod(0o755)
    with locked(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_whoever_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib, flows.local_stack.locking as l\nwith l.locked(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60).returncode == 9
    assert (tmp_path / "prefect" / "up.json").exists()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "prefect").write_text("a file")
    with pytest.raises(HomeError, match="cannot be used"), locked(tmp_path):
        pass
