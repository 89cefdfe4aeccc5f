"""A flow that waits for a file, so that it is certain what it is doing; see `test_up`."""

import os
import time
from pathlib import Path

from prefect import flow


@flow
def waits(calendar: str | None = None) -> None:  # noqa: ARG001  deployments name it
    home = Path(os.environ["KLINE_HOME"]) / "seen"
    home.mkdir(exist_ok=True)
    (home / "begun").touch()
    try:
        while not (home / "go").exists():
            time.sleep(0.05)
    finally:
        (home / "ended").write_text(os.environ["KLINE_SCHEDULER"])
