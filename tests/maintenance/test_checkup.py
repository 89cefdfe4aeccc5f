"""A checkup says what it finds, also where looking breaks or hangs."""

import json
import threading

from kline_core.errors import HomeError
from kline_core.maintenance.checkup import Check, Checkup, looked_at


def test_lines_headline_and_document():
    found = Checkup(
        [Check("disk", "ok", "fine"), Check("clock", "note", "odd"), Check("bars", "problem", "gone; restore")]
    )
    assert found.text().splitlines() == [
        "ok       disk: fine",
        "note     clock: odd",
        "problem  bars: gone; restore",
        "1 problems, 1 notes, 1 ok",
    ]
    assert found.failure == "bars: gone; restore"
    document = json.loads(json.dumps(found.to_dict()))
    assert (document["ok"], document["checks"][1]) == (False, {"subject": "clock", "state": "note", "text": "odd"})
    assert Checkup(found.checks[:2]).failure is None
    assert Checkup(found.checks[2:] * 3).failure == "bars: gone; restore (and 2 more)"


def test_what_breaks_is_a_problem_beside_what_was_found_before():
    def look():
        yield Check("bars", "ok", "fine")
        raise HomeError("no room")

    assert looked_at("home", look, 60) == [Check("bars", "ok", "fine"), Check("home", "problem", "no room")]
    (broken,) = looked_at("home", lambda: 1 / 0, 60)
    assert broken.text == "ZeroDivisionError: division by zero"


def test_what_hangs_is_left_behind_and_named():
    go_on = threading.Event()

    def look():
        yield Check("bars", "ok", "fine")
        go_on.wait()

    found = looked_at("home", look, 0.05)
    go_on.set()
    assert found[-1].state == "problem"
    assert found[-1].text.startswith("no answer within 0.05 s")
