import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kline_core.kept import Kept


def test_a_thing_is_made_once_however_many_ask():
    kept, made, start = Kept(2), [], threading.Barrier(6)

    def ask(_):
        start.wait()
        return kept.get("a", lambda: made.append("a") or object())

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    assert made == ["a"]
    assert all(each is found[0] for each in found)


def test_those_asked_for_last_are_kept():
    kept, made = Kept(2), []
    for name in "abacab":
        assert kept.get(name, lambda name=name: made.append(name) or name) == name
    assert made == ["a", "b", "c", "b"], "c pushed out b, which was asked for longest ago"
    assert len(kept) == 2


def test_one_that_could_not_be_made_is_tried_again():
    kept = Kept(1)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 / 0)
    assert kept.get("a", lambda: "made") == "made"


def test_while_one_is_made_others_are_had():
    kept, begun, go_on = Kept(2), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(30)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(kept.get, "a", slow)
        assert begun.wait(30)
        assert kept.get("b", lambda: "b") == "b"
        go_on.set()
        assert waiting.result(30) == "slow"


def test_what_is_kept_is_listed_from_the_last_asked_for():
    kept = Kept(2)
    for name in "abcb":
        kept.get(name, lambda name=name: name.upper())
    assert kept.items() == [("b", "B"), ("c", "C")]
