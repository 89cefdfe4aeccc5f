"""Modes: how the candidates of a sample are scored before matches are selected among them.

In fast mode they keep the similarity of their vectors. A mode that looks closer is a function from the windows of the
candidates to their scores, which take the place of the similarity. To add one, write it in a module of its own beside
this one, name it here in `MODES`, and in `kline_core.settings.MODES`, against which the settings are checked.
"""

from typing import Final

from kline_core.search.candidate_windows import Mode

MODES: Final[dict[str, Mode | None]] = {"fast": None}
"""By name; None keeps the similarity of the vectors."""
