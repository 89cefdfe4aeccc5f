"""Real bars beside the project: the folder that KLINE_TEST_DATA names, for tests that run where it is set."""

import os
from pathlib import Path

import pytest

needs_real_data = pytest.mark.skipif(
    "KLINE_TEST_DATA" not in os.environ, reason="KLINE_TEST_DATA names no folder with real bars"
)


def real_data() -> Path:
    """The folder."""
    return Path(os.environ["KLINE_TEST_DATA"])
