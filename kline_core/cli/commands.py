"""All commands by name: options in, an `Answer` out.

Each command imports its heavy libraries itself, so that the others start fast.
"""

import argparse
from collections.abc import Callable

from kline_core.cli.answer import Answer
from kline_core.cli.backup_command import backup
from kline_core.cli.data_commands import index, ingest, notes, verify
from kline_core.cli.doctor_command import doctor
from kline_core.cli.factor_commands import baselines, evaluate, export, history, match, run
from kline_core.cli.fetch_command import fetch
from kline_core.cli.notify_command import notify
from kline_core.cli.plan_command import plan
from kline_core.cli.program_commands import demo, train, up
from kline_core.cli.quality_commands import check, release
from kline_core.cli.run_commands import replay, runs
from kline_core.cli.study_command import study

COMMANDS: dict[str, Callable[[argparse.Namespace], Answer | None]] = {
    "demo": demo,
    "ingest": ingest,
    "fetch": fetch,
    "notes": notes,
    "check": check,
    "release": release,
    "index": index,
    "run": run,
    "match": match,
    "history": history,
    "evaluate": evaluate,
    "baselines": baselines,
    "study": study,
    "export": export,
    "verify": verify,
    "runs": runs,
    "replay": replay,
    "doctor": doctor,
    "plan": plan,
    "backup": backup,
    "train": train,
    "up": up,
    "notify": notify,
}
