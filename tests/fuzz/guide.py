"""Guidance: a case that reaches lines which none before it reached is kept, since its kin may reach more."""

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

MOST = 400
"""Cases that are kept, at most, beside the seeds."""


class Guide:
    """Cases that are kept, and the steps from line to line that they took."""

    def __init__(self, parts: tuple[str, ...], seeds: list[bytes], folder: Path) -> None:
        """Begin with the seeds, and with what an earlier process kept in the folder."""
        folder.mkdir(exist_ok=True)
        self.kept = [*seeds, *(file.read_bytes() for file in sorted(folder.iterdir()))]
        self._parts, self._folder, self._room = parts, folder, MOST - (len(self.kept) - len(seeds))
        self._known: set[tuple[str, int, int]] = set()
        self._fresh: set[tuple[str, int, int]] = set()
        self._ours: dict[str, bool] = {}

    def choose(self, draw: random.Random) -> bytes:
        """One of the kept cases, the later ones more often: they are the rarer ones."""
        return self.kept[max(draw.randrange(len(self.kept)), draw.randrange(len(self.kept)))]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the steps that are taken meanwhile, in this thread."""
        self._fresh.clear()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def keep(self, case: bytes) -> None:
        """Keep a case if it took steps that no other did."""
        if not self._fresh:
            return
        self._known |= self._fresh
        if self._room > 0 and case not in self.kept:
            self._room -= 1
            self.kept.append(case)
            (self._folder / hashlib.sha256(case).hexdigest()[:16]).write_bytes(case)

    def _call(self, frame: FrameType, _event: str, _value: Any) -> Any:
        file = frame.f_code.co_filename
        ours = self._ours.get(file)
        if ours is None:
            ours = self._ours[file] = any(part in file for part in self._parts)
        if not ours:
            return None
        before = frame.f_lineno

        def step(frame: FrameType, event: str, _value: Any) -> Any:
            nonlocal before
            if event == "line":
                edge = (file, before, frame.f_lineno)
                if edge not in self._known:
                    self._fresh.add(edge)
                before = frame.f_lineno
            return step

        return step
