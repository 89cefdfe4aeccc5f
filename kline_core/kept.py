"""Things that are costly to make, kept while they are among those asked for last."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Kept(Generic[Thing]):
    """Makes each thing once, however many threads ask, and keeps the `number` of them that were asked for last."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._things: OrderedDict[Hashable, Thing] = OrderedDict()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        """Number of things that are kept now."""
        return len(self._things)

    def items(self) -> list[tuple[Hashable, Thing]]:
        """What is kept now, with its names, that which was asked for last first."""
        with self._guard:
            return list(reversed(self._things.items()))

    def put(self, name: Hashable, thing: Thing) -> None:
        """Keep a thing that was made elsewhere, in the place of one that has its name."""
        with self._guard:
            self._things[name] = thing
            self._trim(name)

    def values(self) -> list[Thing]:
        """What is kept now, that which was asked for last first."""
        return [thing for _, thing in self.items()]

    def get(self, name: Hashable, make: Callable[[], Thing]) -> Thing:
        """The thing of that name; where it is not kept, what `make` gives. Threads that ask meanwhile wait for it.

        Raises what `make` raises; the next one to ask then tries again.
        """
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            with self._guard:
                found = self._things.get(name)
            thing = make() if found is None else found
            with self._guard:
                self._things[name] = thing
                self._trim(name)
        return thing

    def _trim(self, newest: Hashable) -> None:
        self._things.move_to_end(newest)
        while len(self._things) > self._number:
            self._locks.pop(self._things.popitem(last=False)[0], None)
