"""What a shell needs to reach a Prefect server: its address, the variable of its password, its certificate."""

import os
import shlex
from typing import Final

from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_SSL_CERT_FILE

PASSWORD: Final = "PREFECT_SERVER_API_AUTH_STRING"
"""Variable of the password that the server asks for."""
CLIENT_PASSWORD: Final = "PREFECT_API_AUTH_STRING"


def server_words(url: str, password: bool, authority: str | None) -> list[str]:
    """What a shell needs in front of a command to reach a server.

    Args:
        url: Of the server's API.
        password: Whether it asks for one.
        authority: File with the certificate that the server's own is checked with; None for plain HTTP.
    """
    words = [f"PREFECT_API_URL={shlex.quote(url)}"]
    words += [f'{CLIENT_PASSWORD}="${PASSWORD}"'] if password else []
    return words + ([f"PREFECT_API_SSL_CERT_FILE={shlex.quote(authority)}"] if authority is not None else [])


def words_of_client(url: str) -> list[str]:
    """The same for a server, as the client of this process reaches it."""
    # Prefect takes the certificates of the machine where it is not told of others, whatever the address.
    file = PREFECT_API_SSL_CERT_FILE.value() if url.startswith("https:") else None
    password = PREFECT_API_AUTH_STRING.value() is not None or PASSWORD in os.environ
    return server_words(url, password, None if file is None else str(file))
