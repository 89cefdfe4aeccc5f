"""What a shell needs to reach a Prefect server: its address, the variable of its password, its certificate."""

import os
import shlex
from typing import Final

from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_SSL_CERT_FILE

PASSWORD: Final = "PREFECT_SERVER_API_AUTH_STRING"
"""Variable of the password that the server asks for."""
CLIENT_PASSWORD: Final = "PREFECT_API_AUTH_STRING"


def server_words(url: str) -> list[str]:
    """What a shell needs in front of a command to reach a server, as the client of this process reaches it."""
    words = [f"PREFECT_API_URL={shlex.quote(url)}"]
    if PREFECT_API_AUTH_STRING.value() is not None or PASSWORD in os.environ:
        words.append(f'{CLIENT_PASSWORD}="${PASSWORD}"')
    # Prefect takes the certificates of the machine where it is not told of others, whatever the address.
    authority = PREFECT_API_SSL_CERT_FILE.value()
    if url.startswith("https:") and authority is not None:
        words.append(f"PREFECT_API_SSL_CERT_FILE={shlex.quote(str(authority))}")
    return words
