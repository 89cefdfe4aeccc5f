"""A single-flight LRU cache, and the caches of a process, which can advance an older value to a newer one.

A key names a value that is costly to load: a small hashable object that knows how to load it. `loaded` returns the
value of a key. If the process does not hold it, `loaded` asks the key to advance a held value of the same kind
(`Key.advance`), so that a warm process pays for one new day instead of the whole history. If no held value can be
advanced, the key loads the value in full (`Key.load`).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Any, Final, Generic, Protocol, Self, TypeVar, cast

Value = TypeVar("Value")
Loaded = TypeVar("Loaded")
NamedKey = TypeVar("NamedKey", bound="Key[Any]")

STATES: Final = 2
"""Values that a process holds per kind of key. Two serve a run on the newest version of a table and one on the version
before it."""


class _Making:
    """Lock of a key while threads make or await its value."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0


class SingleFlightCache(Generic[Value]):
    """An LRU cache of at most `size` values. Threads that ask for a key at the same time make its value once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._making: dict[Hashable, _Making] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        """Number of values held."""
        return len(self._values)

    def items(self) -> list[tuple[Hashable, Value]]:
        """Keys and values held, most recently used first."""
        with self._guard:
            return list(reversed(self._values.items()))

    def put(self, key: Hashable, value: Value) -> None:
        """Hold a value that was made elsewhere, instead of any value held under the key."""
        with self._guard:
            self._values[key] = value
            self._trim(key)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made by `make` if it is not held; other threads that ask for the key wait for it.

        `make` must not return None, which counts as not held. Raises what `make` raises; the next thread to ask for
        the key then tries again.
        """
        with self._guard:
            making = self._making.setdefault(key, _Making())
            making.threads += 1
        try:
            with making.lock:
                with self._guard:
                    found = self._values.get(key)
                value = make() if found is None else found
                self.put(key, value)
        finally:
            with self._guard:
                making.threads -= 1
                # Kept as long as any thread waits, even if the value has been evicted meanwhile.
                if not making.threads:
                    del self._making[key]
        return value

    def _trim(self, newest: Hashable) -> None:
        self._values.move_to_end(newest)
        while len(self._values) > self._size:
            self._values.popitem(last=False)


class Key(Hashable, Protocol[Loaded]):
    """The name of a value that a process loads once: hashable, and small enough to send to workers."""

    def load(self) -> Loaded:
        """The value, loaded in full from the tables or files that the key names."""

    def advance(self, earlier: Self, value: Loaded) -> Loaded | None:
        """The value, made from that of an earlier key and the rows added since; None if that is not possible."""


_caches: dict[Hashable, SingleFlightCache[Any]] = {}
_guard = threading.Lock()


def _of_kind(kind: Hashable) -> SingleFlightCache[Any]:
    with _guard:
        return _caches.setdefault(kind, SingleFlightCache(STATES))


def _kind_of(key: Key[Any]) -> Hashable:
    """Keys of one kind share a cache: those of a class, unless its keys name a `kind`, (class, ...), of their own."""
    return getattr(key, "kind", type(key))


def let_go(of: type, but: Collection[Hashable]) -> None:
    """Hold no value any more of the kinds of a class, but for some of these kinds."""
    with _guard:
        for kind in [kind for kind in _caches if isinstance(kind, tuple) and kind[0] is of and kind not in but]:
            del _caches[kind]


def loaded(key: Key[Loaded]) -> Loaded:
    """The value that a key names: held already, advanced from a held one, or loaded in full.

    Raises what the key's `load` and `advance` raise.
    """
    cache = _of_kind(_kind_of(key))

    def make() -> Loaded:
        for earlier, value in cache.items():
            # A cache holds keys of one class only, which its type does not say.
            advanced = key.advance(cast(Any, earlier), value)
            if advanced is not None:
                return advanced
        return key.load()

    value: Loaded = cache.get(key, make)
    return value


def held_like(key: NamedKey) -> list[NamedKey]:
    """Keys of the same kind whose values are held, most recently used first; perhaps the key itself among them."""
    # A cache holds keys of one class only, which its type does not say.
    return [cast(Any, held) for held, _ in _of_kind(_kind_of(key)).items()]


def hold(key: Key[Loaded], value: Loaded) -> None:
    """Hold a value under its key without loading it."""
    _of_kind(_kind_of(key)).put(key, value)
