"""The guard of speed: what the work amounts to, in counts that no machine changes."""

import json

import numpy as np
import pytest

from kline_core.encoder.encoder import Encoder
from tests.benchmarks.counts import KEPT, counted, differences, life, main


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_the_work_of_a_home_is_no_more_than_was_kept(tmp_path):
    found = life(tmp_path)
    told = differences(found, json.loads(KEPT.read_text()))
    assert not told, "if that is meant: `python -m tests.benchmarks.counts --keep`"
    assert found["same run again"]["encoded"] == found["same run again"]["scanned"] == 0


def test_what_is_encoded_is_counted_until_the_end_of_a_step():
    encoder, counts = Encoder.load(device="cpu"), {}
    with counted(counts, "two"):
        encoder.encode(np.zeros((2, 60, 64), np.uint8))
    encoder.encode(np.zeros((1, 60, 64), np.uint8))
    assert (counts["two"]["encoded"], counts["two"]["scanned"]) == (2, 0)


def test_every_other_count_is_told_and_bytes_that_differ_by_much():
    kept = {"run": {"encoded": 5, "scanned": 100, "read": 1000}, "match": {"encoded": 1}}
    assert differences(kept, kept) == []
    assert differences({"run": kept["run"] | {"read": 1090}, "match": kept["match"]}, kept) == []
    more = {"run": {"encoded": 5, "scanned": 101, "read": 1200}, "match": {"encoded": 0}}
    assert differences(more, kept) == [
        "match: encoded is 0, kept is 1",
        "run: read is 1200, kept is 1000",
        "run: scanned is 101, kept is 100",
    ]
    assert differences({"run": kept["run"]}, kept) == ["match: encoded is None, kept is 1"]
    without = {"run": {"encoded": 5, "scanned": 100}, "match": {"encoded": 1}}
    assert differences(without, kept) == [], "a system that does not count bytes"


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_they_are_kept_when_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tests.benchmarks.counts.KEPT", tmp_path / "counts.json")
    monkeypatch.setattr("tests.benchmarks.counts.life", lambda _: {"run": {"encoded": 1, "scanned": 2}})
    main([])
    assert not (tmp_path / "counts.json").exists()
    assert "run: encoded is 1, kept is None" in capsys.readouterr().out
    main(["--keep"])
    assert json.loads((tmp_path / "counts.json").read_text()) == {"run": {"encoded": 1, "scanned": 2}}
