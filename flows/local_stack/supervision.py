"""Supervision of parts: watched, and restarted if they die."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from flows.local_stack.processes import Part
from kline_core.errors import StartError

TRIES = 6
STEADY_SECONDS = 60.0
_LONGEST_PAUSE = 30.0
_LOOK_SECONDS = 0.5


def watch(
    parts: Sequence[Part],
    pause: Callable[[float], None],
    say: Callable[[str], None],
    restart: Callable[[Part], None],
) -> None:
    """Watch the parts for ever, and restart them if they end.

    Args:
        parts: Parts in the order of their restart.
        pause: Waits for some seconds, and raises to end the watch.
        say: Called with one line for each death.
        restart: Called to start a part again.

    Raises:
        StartError: A part has died `TRIES` times without staying alive for `STEADY_SECONDS` in between.
    """
    failures: Counter[Part] = Counter()
    due: dict[Part, float] = {}
    while True:
        pause(_LOOK_SECONDS)
        now = time.monotonic()
        for part in parts:
            if part.alive:
                if failures[part] and now - part.started > STEADY_SECONDS:
                    del failures[part]
            elif part not in due:
                failures[part] += 1
                code, tries = part.code, failures[part]
                if tries >= TRIES:
                    raise StartError(
                        f"the {part.name} ended {tries} times in a row, at last with code {code} "
                        f"({part.last_words()}); see {part.log}",
                        part=part.name,
                        code=code,
                        log=part.log,
                    )
                # Exponential back-off: at once, then after one second, two, four ...
                wait = min(_LONGEST_PAUSE, 2.0 ** (tries - 2)) if tries > 1 else 0.0
                due[part] = now + wait
                say(
                    f"the {part.name} ended with code {code} and is started again"
                    f"{f' in {wait:.0f} s' if wait else ''}; see {part.log}"
                )
            if part in due and now >= due[part]:
                del due[part]
                restart(part)
