"""Certificates of `kline up --tls`: those that Dask's own configuration names, else new ones for loopback.

Dask's scheduler, workers and clients show each other a certificate, and take only those that the CA has signed. The
Prefect server shows the scheduler's; its clients show a password instead.
"""

import json
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dask
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kline_core.errors import SettingError

CONFIGURATION = "dask.yaml"
"""File beside new certificates that other programs take as `DASK_CONFIG`."""
_TLS = "distributed.comm.tls"
_REQUIRED = "distributed.comm.require-encryption"
_ROLES = ("scheduler", "worker", "client")
_NEEDED = ("ca-file", *(f"{role}.cert" for role in _ROLES))
# Longer than a server stays up: each start makes new ones.
_LIFE = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM form by their key in Dask's configuration, such as `ca-file` or `scheduler.cert`."""

    files: Mapping[str, str]
    configuration: Path | None = None
    """File for `DASK_CONFIG` that names new certificates; None if they are the user's own."""

    @property
    def server(self) -> tuple[str, str | None]:
        """Certificate and key of the Prefect server; None for a key in the same file."""
        return self.files["scheduler.cert"], self.files.get("scheduler.key")

    @property
    def dask(self) -> dict[str, Any]:
        """Dask's configuration for this process."""
        return {_REQUIRED: True} | {f"{_TLS}.{key}": file for key, file in self.files.items()}

    @property
    def environment(self) -> dict[str, str]:
        """The same for child programs, and the CA for Prefect's clients."""
        return {variable(name): str(value) for name, value in self.dask.items()} | {
            "PREFECT_API_SSL_CERT_FILE": self.files["ca-file"]
        }

    def trust(self) -> ssl.SSLContext:
        """Context of a client that takes only certificates of this CA."""
        return ssl.create_default_context(cafile=self.files["ca-file"])


def encryption_is_required() -> bool:
    """Whether Dask's own configuration requires TLS, or takes it where nothing else is named."""
    scheme = dask.config.get("distributed.comm.default-scheme", default="tcp")
    return bool(dask.config.get(_REQUIRED, default=False)) or scheme == "tls"


def certificates_of(host: str, folder: Path) -> Certificates:
    """The user's own certificates for a host, else new ones in a folder, if the host is of loopback.

    Raises `SettingError` if the user's cannot be used, or are missing for a host that others can reach.
    """
    own = named(host)
    if own is None and not ip_address(host).is_loopback:
        names = ", ".join(variable(f"{_TLS}.{key}") for key in _NEEDED)
        raise SettingError(
            f"--host is {host}, and there are no certificates for it; name the files in {names}, or leave out --host",
            parameter="--host",
            value=host,
        )
    return made(folder, host) if own is None else own


def named(host: str) -> Certificates | None:
    """Certificates that Dask's own configuration names; None if it names none.

    Raises `SettingError` if some are missing, cannot be read, do not fit each other, or are not for `host`.
    """
    keys = ("ca-file", *(f"{role}.{part}" for role in _ROLES for part in ("cert", "key")))
    found = {key: value for key in keys if (value := dask.config.get(f"{_TLS}.{key}", default=None))}
    if not found:
        return None
    for key in _NEEDED:
        if key not in found:
            raise SettingError(
                f"Dask's configuration names {_TLS}.{next(iter(found))} and no {_TLS}.{key}; name that too, as in "
                f"{variable(f'{_TLS}.{key}')}=FILE, or name none for new ones",
                parameter=f"{_TLS}.{key}",
            )
    for key, value in found.items():
        # Dask also takes the text of a certificate; the server does not.
        if "\n" in str(value) or not Path(str(value)).is_file():
            shown = "a text" if "\n" in str(value) else value
            raise SettingError(
                f"{_TLS}.{key} is {shown}, which is no file; name a file in PEM form",
                parameter=f"{_TLS}.{key}",
                bound="a file in PEM form",
            )
    # Absolute, since child programs run in other folders.
    certificates = Certificates({key: str(Path(value).resolve()) for key, value in found.items()})
    _check(certificates, host)
    return certificates


def made(folder: Path, host: str) -> Certificates:
    """New certificates for an address of loopback, in a folder that only its owner can read.

    The CA's key is not kept: nobody, not even its owner, can sign another certificate.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = _name("kline up, this start alone")
    ca = (
        _builder(name, name, ca_key, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, SHA256())
    )
    addresses = [x509.IPAddress(ip_address(host)), x509.DNSName("localhost")]
    certificate = (
        _builder(_name("kline up"), name, key, ca_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(ca_key, SHA256())
    )
    ca_file = _written(folder / "ca.pem", ca.public_bytes(Encoding.PEM))
    cert_file = _written(folder / "cert.pem", certificate.public_bytes(Encoding.PEM))
    key_file = _written(folder / "key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pairs = {role: {"cert": cert_file, "key": key_file} for role in _ROLES}
    comm = {"require-encryption": True, "tls": {"ca-file": ca_file} | pairs}
    # JSON is YAML.
    text = json.dumps({"distributed": {"comm": comm}}, indent=2) + "\n"
    configuration = Path(_written(folder / CONFIGURATION, text.encode()))
    flat = {f"{role}.{part}": file for role, pair in pairs.items() for part, file in pair.items()}
    return Certificates({"ca-file": ca_file} | flat, configuration)


def variable(key: str) -> str:
    """The environment variable that sets a key of Dask's configuration."""
    return "DASK_" + key.replace(".", "__").replace("-", "_").upper()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ca_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    # Both identifiers, which Python asks for from 3.13 on.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks differ.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _written(path: Path, content: bytes) -> str:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return str(path)


def _check(certificates: Certificates, host: str) -> None:
    """Try the connections that will be made: each role with the scheduler, and Prefect's clients with the server."""
    for role in ("worker", "client", None):
        client = certificates.trust() if role is None else _context(certificates, role, ssl.Purpose.SERVER_AUTH)
        server = _context(certificates, "scheduler", ssl.Purpose.CLIENT_AUTH)
        server.verify_mode = ssl.CERT_NONE if role is None else ssl.CERT_REQUIRED
        try:
            _handshake(client, server, host)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", None) or error.reason or "TLS fails"
            raise SettingError(
                f"{_TLS}.scheduler.cert and {_TLS}.{'ca-file' if role is None else f'{role}.cert'} do not go together "
                f"for {host}: {reason}; name certificates that {certificates.files['ca-file']} has signed, the "
                f"scheduler's for the address {host}",
                parameter=f"{_TLS}.scheduler.cert",
                value=certificates.files["scheduler.cert"],
            ) from error


def _context(certificates: Certificates, role: str, purpose: ssl.Purpose) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(purpose, cafile=certificates.files["ca-file"])
    except (ssl.SSLError, OSError) as error:
        raise _unreadable("ca-file", certificates.files["ca-file"]) from error
    try:
        # An empty password, since the server cannot ask for one.
        context.load_cert_chain(certificates.files[f"{role}.cert"], certificates.files.get(f"{role}.key"), password="")
    except (ssl.SSLError, OSError) as error:
        raise _unreadable(f"{role}.cert", certificates.files[f"{role}.cert"]) from error
    # Dask does not ask for the name either.
    context.check_hostname = False
    return context


def _unreadable(key: str, file: str) -> SettingError:
    return SettingError(
        f"{_TLS}.{key} is {file}, which cannot be used; name a certificate in PEM form with its own key, which has no "
        "password",
        parameter=f"{_TLS}.{key}",
        value=file,
    )


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """Connect the two in memory. Raises `ssl.SSLError` if one refuses the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=host),
    ]
    # Four flights at most, and the server's answer to the client's certificate.
    for _ in range(4):
        for side in reversed(sides):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    with suppress(ssl.SSLWantReadError):
        sides[1].read(1)
