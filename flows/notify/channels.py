"""Where messages go: a webhook, or an e-mail address; each with the block of Prefect that sends there.

Prefect has a block for webhooks, and none for mail servers. But its block for Slack hands every address that is none of
Slack's to Apprise, the library behind it, and Apprise sends mail.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode, urlsplit

from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.notify.server import LOOPBACK
from kline_core.errors import SettingError

SMTP = "KLINE_SMTP"
"""Variable of the mail server: `smtp://[USER:PASSWORD@]HOST[:PORT]`, or `smtps://...` for TLS from the start."""
_EXAMPLE = "smtps://smtp.example.com"
_LOGIN = "with USER:PASSWORD@ before the host where it asks for them"
_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class Channel:
    """One place that messages go to."""

    kind: str
    """`webhook` or `email`."""
    name: str
    """Name of block and automation: lower-case letters, digits and dashes; the same for the same place."""
    place: str
    """The place as it may be shown, without secrets."""
    block: Block
    """Block that sends there; it holds the secrets."""


def webhook(url: str) -> Channel:
    """A channel to a URL of HTTP. Raises `SettingError`, which does not show the URL, since it may be a secret."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", url):
        raise SettingError(
            "--webhook is no URL of HTTP; give one such as https://hooks.example.com/...",
            parameter="--webhook",
            bound="a URL of HTTP",
        )
    # Private addresses are where many a chat server and relay lies; the user has named this one.
    block = Webhook(
        url=SecretStr(url),
        headers=SecretDict({"Content-Type": "application/json"}),
        allow_private_urls=True,
    )
    return Channel("webhook", f"kline-webhook-{_digest(url)}", f"the webhook at {parts.hostname}", block)


def email(address: str, environ: Mapping[str, str] = os.environ) -> Channel:
    """A channel to an e-mail address, through the mail server that `SMTP` names. Raises `SettingError`."""
    if not _ADDRESS.fullmatch(address):
        raise SettingError(
            f"--email is {address!r}; give an address such as you@example.com",
            parameter="--email",
            value=address,
            bound="an e-mail address",
        )
    block = SlackWebhook(url=SecretStr(_apprise_url(environ.get(SMTP), address)))
    return Channel("email", f"kline-email-{_digest(address)}", address, block)


def _apprise_url(server: str | None, address: str) -> str:
    """What Apprise takes for a mail server, with the address of sender and receiver."""
    if not server:
        raise SettingError(
            f"{SMTP} is not set; name the mail server there, such as {_EXAMPLE}, {_LOGIN}",
            parameter=SMTP,
            bound=_EXAMPLE,
        )
    try:
        parts = urlsplit(server)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or parts.scheme not in ("smtp", "smtps") or parts.path not in ("", "/"):
        raise SettingError(
            f"{SMTP} names no mail server; set it to one such as {_EXAMPLE}, {_LOGIN}, or to smtp://... where TLS "
            "begins after the greeting",
            parameter=SMTP,
            bound=_EXAMPLE,
        )
    user = unquote(parts.username or "")
    # Without TLS on this machine alone.
    mode = "ssl" if parts.scheme == "smtps" else "insecure" if host in LOOPBACK else "starttls"
    query = {
        "smtp": host,
        "mode": mode,
        "from": user if "@" in user else address,
        "to": address,
        "format": "text",
    }
    login = f"{quote(user, safe='')}:{quote(unquote(parts.password or ''), safe='')}@" if user else ""
    port = port or {"ssl": 465, "insecure": 25, "starttls": 587}[mode]
    return f"mailto{'' if mode == 'insecure' else 's'}://{login}{host}:{port}/?{urlencode(query)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
