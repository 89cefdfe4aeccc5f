"""Secrets kept out of text: passwords in URLs, and the values of variables that hold passwords and keys."""

import os
import re
from collections.abc import Mapping

MASK = "***"
_SHORTEST = 6
"""Shorter values are left as they are, since they may stand in any text by chance."""
# Up to the last @, even beyond a slash: people leave out the percent signs, and database drivers take that.
_USER_INFO = re.compile(r"(?<=://)(?:[^\s/:@]*:\S*|[^\s/]+)@")
_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:password|passwd|pwd|secret|token|sig|key)[\w.-]*=)[^&\s'\"]+")
_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|AUTH_STRING|API_KEY|ACCESS_KEY|ACCOUNT_KEY")


def masked(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The text with secrets replaced by `MASK`.

    Args:
        text: Message, log line or traceback.
        environ: Variables whose values are secret if their names say so; None for those of this process.
    """
    if "://" in text:
        text = _USER_INFO.sub(f"{MASK}@", text)
    if "=" in text:
        text = _QUERY.sub(rf"\1{MASK}", text)
    variables = os.environ if environ is None else environ
    secrets = {value for name, value in variables.items() if len(value) >= _SHORTEST and _NAMES.search(name.upper())}
    # The longest first, since one may hold another.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def holds_credentials(url: str) -> bool:
    """Whether a URL carries a user, a password or a query, such as a signature."""
    _, found, rest = url.partition("://")
    return bool(found) and ("@" in rest.partition("/")[0] or "?" in rest or masked(url, {}) != url)
