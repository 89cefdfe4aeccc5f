"""A single-flight LRU cache, and the one of a process, where an older state may be advanced to a newer one.

Whatever is costly to load is named by a key: a small hashable object that says what to load and knows how. `loaded`
gives the value of a key. Where the process does not hold it, the key is first asked whether it goes on from one of its
own kind that is held (`advance`): a process that stays warm then pays for the day that came, not for the history.
Otherwise it is loaded in full (`load`).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, Protocol, Self, TypeVar, cast

Value = TypeVar("Value")
Loaded = TypeVar("Loaded")

STATES: Final = 2
"""Values of a kind that a process holds. With two, a run on the newest version of a table and one on the version before
it find theirs."""


class SingleFlightCache(Generic[Value]):
    """An LRU cache of `size` values that makes each value once, however many threads ask for it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        """Number of values that are held."""
        return len(self._values)

    def items(self) -> list[tuple[Hashable, Value]]:
        """Keys and values that are held, most recently used first."""
        with self._guard:
            return list(reversed(self._values.items()))

    def put(self, key: Hashable, value: Value) -> None:
        """Hold a value that was made elsewhere, in the place of any other one of that key."""
        with self._guard:
            self._values[key] = value
            self._trim(key)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key; where it is not held, what `make` gives. Threads that ask meanwhile wait for it.

        Raises what `make` raises; the next thread to ask then tries again.
        """
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            with self._guard:
                found = self._values.get(key)
            value = make() if found is None else found
            with self._guard:
                self._values[key] = value
                self._trim(key)
        return value

    def _trim(self, newest: Hashable) -> None:
        self._values.move_to_end(newest)
        while len(self._values) > self._size:
            self._locks.pop(self._values.popitem(last=False)[0], None)


class Key(Hashable, Protocol[Loaded]):
    """Names a value that a process loads once. Hashable, and small enough to be sent to workers."""

    def load(self) -> Loaded:
        """The value, made from the tables or files that the key names."""

    def advance(self, earlier: Self, value: Loaded) -> Loaded | None:
        """The value, made from that of an earlier key and what has come since; None where it does not go on from it."""


_caches: dict[type, SingleFlightCache[Any]] = {}
_guard = threading.Lock()


def _of_kind(kind: type) -> SingleFlightCache[Any]:
    with _guard:
        return _caches.setdefault(kind, SingleFlightCache(STATES))


def loaded(key: Key[Loaded]) -> Loaded:
    """The value that a key names: held already, advanced from an earlier one, or loaded in full.

    Raises what the key's `load` and `advance` raise.
    """
    cache = _of_kind(type(key))

    def make() -> Loaded:
        for earlier, value in cache.items():
            # Keys of one kind only are held here.
            advanced = key.advance(cast(Any, earlier), value)
            if advanced is not None:
                return advanced
        return key.load()

    value: Loaded = cache.get(key, make)
    return value


def hold(key: Key[Loaded], value: Loaded) -> None:
    """Hold a value that was made by other means than its key's."""
    _of_kind(type(key)).put(key, value)
