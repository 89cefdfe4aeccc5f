"""How a run tells that it has done its work, and that a person still has to bring something in."""

from typing import Final

INCOMPLETE: Final = "Incomplete"
"""Name of its last state, which is of the type COMPLETED."""
