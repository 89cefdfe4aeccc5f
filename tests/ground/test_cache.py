import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kline_core._cache import SingleFlightCache


def test_a_thing_is_made_once_however_many_ask():
    cache, made, start = SingleFlightCache(2), [], threading.Barrier(6)

    def ask(_):
        start.wait()
        return cache.get("a", lambda: made.append("a") or object())

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    assert made == ["a"]
    assert all(each is found[0] for each in found)


def test_those_asked_for_last_are_kept():
    cache, made = SingleFlightCache(2), []
    for name in "abacab":
        assert cache.get(name, lambda name=name: made.append(name) or name) == name
    assert made == ["a", "b", "c", "b"], "c pushed out b, which was asked for longest ago"
    assert len(cache) == 2


def test_one_that_could_not_be_made_is_tried_again():
    cache = SingleFlightCache(1)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 / 0)
    assert cache.get("a", lambda: "made") == "made"


def test_while_one_is_made_others_are_had():
    cache, begun, go_on = SingleFlightCache(2), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(30)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.get, "a", slow)
        assert begun.wait(30)
        assert cache.get("b", lambda: "b") == "b"
        go_on.set()
        assert waiting.result(30) == "slow"


def test_what_is_kept_is_listed_from_the_last_asked_for():
    cache = SingleFlightCache(2)
    for name in "abcb":
        cache.get(name, lambda name=name: name.upper())
    assert cache.items() == [("b", "B"), ("c", "C")]
