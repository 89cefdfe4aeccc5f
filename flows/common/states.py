"""Names of states of flow runs, beside those of Prefect."""

from typing import Final

INCOMPLETE: Final = "Incomplete"
"""Of the type COMPLETED: the run has done its work, and a person still has to bring something in."""
INTERRUPTED: Final = "Interrupted"
"""Of the type SCHEDULED: the run's process was killed, and the run waits to go on."""
STOPPED: Final = "Stopped"
"""Of the type SCHEDULED: the run was stopped together with `kline up`, and waits to go on."""
WAITING: Final = "Waiting"
"""Of the type RUNNING: the run waits for bars; Prefect's own name for it would be Running."""
