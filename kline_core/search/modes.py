"""Modes: how the candidates of a sample are ranked before matches are selected among them.

In fast mode, candidates keep the similarity of their vectors. Any other mode ranks them by a similarity of its own. To
add one, write it in a module of its own beside this one, and name it here in `MODES` and in
`kline_core.settings.MODES`, which bounds the setting.
"""

from typing import Final

from kline_core.search.candidate_windows import Mode
from kline_core.search.full_mode import full_mode

MODES: Final[dict[str, Mode | None]] = {"fast": None, "full": full_mode}
"""Modes by name; None keeps the similarity of the vectors."""
