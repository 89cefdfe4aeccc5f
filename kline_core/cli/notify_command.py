"""`kline notify`: messages about flow runs, to a webhook or an e-mail address."""

import argparse
import os
import sys
from dataclasses import asdict

from kline_core._text import table
from kline_core.cli.answer import Answer
from kline_core.store.folder import home_uri


def notify(options: argparse.Namespace) -> Answer:
    """`kline notify`."""
    from flows.notify.channels import email, webhook
    from flows.notify.messages import DEFAULT
    from flows.notify.notify import notices, removed
    from flows.notify.notify import notify as set_up

    named = os.environ.get("KLINE_HOME") if options.home is None else options.home
    home = home_uri(named) if named else None
    if options.list:
        found = notices(home)
        rows = [[each.name, each.about, ", ".join(each.on), "yes" if each.active else "paused"] for each in found]
        text = table(["name", "to", "on", "active"], rows) if rows else "the server sends no messages about runs"
        return Answer(text, {"notices": [asdict(each) for each in found]})
    if options.remove is not None:
        gone = removed(options.remove, home)
        return Answer(f"{gone.name} is removed: no more messages to {gone.about}", asdict(gone))
    if options.email is not None:
        channel = email(options.email)
    else:
        # A URL may be a secret, which a list of processes would show.
        channel = webhook(sys.stdin.readline().strip() if options.webhook == "-" else options.webhook)
    made = set_up(channel, options.on or list(DEFAULT), home)
    text = f"{made.name}: a message goes to {made.about} of each run that {' or '.join(SAID[on] for on in made.on)}"
    return Answer(text, asdict(made))


SAID = {
    "failed": "has failed",
    "interrupted": "is interrupted",
    "late": "is late",
    "incomplete": "has completed with something missing",
    "completed": "has completed",
}
