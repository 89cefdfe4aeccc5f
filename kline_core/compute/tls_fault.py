"""Why a connection with TLS to a scheduler fails, of which Dask says only that it does."""

import socket
import ssl
from urllib.parse import urlsplit

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")
"""OpenSSL's names for an answer that is none of TLS."""


def tls_fault(address: str, context: ssl.SSLContext, authority: str, own: str, seconds: float) -> str | None:
    """Try the handshake with a scheduler at `address` once more, and say what fails, and what to do about it.

    None if it is none of TLS: nobody is there, or a silent one.

    Args:
        address: Begins with tls://.
        context: That of this process as a client.
        authority: File with the CA that it takes.
        own: File with the certificate that it shows.
        seconds: Time to wait for the scheduler, at most.
    """
    place = urlsplit(address)
    try:
        with (
            socket.create_connection((place.hostname, place.port), timeout=seconds) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            # A server says only after the handshake that it does not take the client's certificate.
            encrypted.recv(1)
    except ssl.SSLCertVerificationError as error:
        return (
            f"its certificate is not taken by the CA in {authority} ({error.verify_message}); name the CA of its "
            "cluster as distributed.comm.tls.ca-file in Dask's configuration, or give the scheduler a new certificate"
        )
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if reason in _NO_TLS:
            plainly = f"tcp://{address.removeprefix('tls://')}"
            return f"what listens there uses no TLS; name it {plainly} if it is a scheduler"
        if "ALERT" in reason:
            return (
                f"it does not take the certificate {own} of this process ({reason}); name one that the CA of its "
                "cluster signed as distributed.comm.tls.client.cert in Dask's configuration"
            )
        return f"the handshake of TLS fails ({reason}); compare distributed.comm.tls in Dask's configurations"
    except (OSError, ValueError):
        return None
    return None
