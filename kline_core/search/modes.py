"""Modes: how to score the candidates of a sample before matches are selected among them.

In fast mode, candidates keep the similarity of their vectors. Any other mode is a function from the windows of the
candidates to their scores, which replace the similarity. To add one, write it in a module of its own beside this one,
and name it here in `MODES` and in `kline_core.settings.MODES`, which bounds the setting.
"""

from typing import Final

from kline_core.search.candidate_windows import Mode

MODES: Final[dict[str, Mode | None]] = {"fast": None}
"""Modes by name; None keeps the similarity of the vectors."""
