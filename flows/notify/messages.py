"""What a message says: flow, state, reason, what to do, home, link; as templates that the Prefect server fills in."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

from flows.common.server_words import words_of_client
from flows.common.states import INCOMPLETE, INTERRUPTED

EVENTS: Final = {
    "failed": ("prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"),
    "interrupted": (f"prefect.flow-run.{INTERRUPTED}",),
    "late": ("prefect.flow-run.Late",),
    "incomplete": (f"prefect.flow-run.{INCOMPLETE}",),
    "completed": ("prefect.flow-run.Completed", f"prefect.flow-run.{INCOMPLETE}"),
}
"""Events of Prefect by what a person asks for; a run has at most one of each kind at its end."""
DEFAULT: Final = ("failed", "interrupted", "late", "incomplete")
"""Whatever leaves a session without some of its values, or did until it was made good."""
_LONGEST: Final = 1_000
"""Characters of a reason; the page of the run has all of it."""

_REASON: Final = (
    "((flow_run.state.message or ('it was due at ' ~ flow_run.expected_start_time ~ ', and no worker has begun it' "
    "if flow_run.state.name == 'Late' else 'none is recorded'))"
    f" | replace('Flow run encountered an exception: ', '') | truncate({_LONGEST}))"
)
_RUN: Final = (
    "(flow_run.name.split(': ')[0]"
    " ~ (' (chosen symbols)' if flow_run.state.name == 'Late' and flow_run.parameters.symbols else ''))"
)
"""What a run is for: its name, without the result that it gets at its end, perhaps after the message.

The name of one that was not begun does not tell yet what it is for.
"""
SUBJECT: Final = f"kline: {{{{ flow.name }}}} {{{{ {_RUN} }}}} {{{{ flow_run.state.name | lower }}}}"


def _to_do(pages: str) -> str:
    """Expression of Jinja for what a person can do."""
    server = " ".join(words_of_client(f"{pages}/api"))
    again = json.dumps(f"when that is mended, run it again: {server} prefect flow-run retry ")
    late = "see whether `kline up` runs, and prefect/logs/worker.log in its home; started, it begins the run"
    incomplete = "bring in what is missing, or mend it; the next run makes the values"
    return (
        f"({json.dumps(late)} if flow_run.state.name == 'Late' "
        f"else {json.dumps(incomplete)} if flow_run.state.name == '{INCOMPLETE}' "
        f"else 'nothing, unless it happens again' if flow_run.state.name == '{INTERRUPTED}' "
        f"else 'nothing' if flow_run.state.name == 'Completed' else {again} ~ flow_run.id)"
    )


def _fields(home: str | None, pages: str) -> dict[str, str]:
    """Expressions of Jinja by the name of the field.

    Args:
        home: Home of runs that name none.
        pages: URL of the server's pages, for a server that does not know its own.
    """
    return {
        "flow": "flow.name",
        "run": _RUN,
        "state": "flow_run.state.name",
        "home": f"(flow_run.parameters.home or {json.dumps(home or 'that of KLINE_HOME where the worker runs')})",
        "reason": _REASON,
        "todo": _to_do(pages),
        "link": f"((flow_run | ui_url) or ({json.dumps(f'{pages}/runs/flow-run/')} ~ flow_run.id))",
    }


def text(home: str | None, pages: str) -> str:
    """Template of a message as plain text, without its subject."""
    fields = _fields(home, pages)
    return "\n".join(f"{name}: {{{{ {fields[name]} }}}}" for name in ("reason", "todo", "home", "link"))


def payload(url: str, home: str | None, pages: str) -> str:
    """Template of the JSON document that a webhook gets, in the form that the host of its URL takes.

    Chats take a text alone, each under other names; every other receiver gets the text and each field by itself.
    """
    message = f"{{% set message %}}{SUBJECT}\n{text(home, pages)}{{% endset %}}"
    host = urlsplit(url).hostname or ""
    said = next((form for end, form in _FORMS.items() if host == end or host.endswith(f".{end}")), None)
    if said is None:
        fields = ", ".join(
            f"{json.dumps(name)}: {{{{ {value} | tojson }}}}" for name, value in _fields(home, pages).items()
        )
        return f'{message}{{"text": {{{{ message | tojson }}}}, {fields}}}'
    return message + json.dumps(said).replace('"MESSAGE"', "{{ message | tojson }}")


_FORMS: Final[dict[str, dict[str, Any]]] = {
    "hooks.slack.com": {"text": "MESSAGE"},
    "discord.com": {"content": "MESSAGE"},
    "oapi.dingtalk.com": {"msgtype": "text", "text": {"content": "MESSAGE"}},
    "qyapi.weixin.qq.com": {"msgtype": "text", "text": {"content": "MESSAGE"}},
    "open.feishu.cn": {"msg_type": "text", "content": {"text": "MESSAGE"}},
    "open.larksuite.com": {"msg_type": "text", "content": {"text": "MESSAGE"}},
}
"""Documents of chats by the end of their hosts, as their documentation has them."""
