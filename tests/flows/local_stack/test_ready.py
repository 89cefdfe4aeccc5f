from pathlib import Path

from flows.local_stack.certificates import made
from flows.local_stack.ready import Ready

PARTS = ("server", "Dask scheduler", "Dask worker", "worker")


def ready(**more: object) -> Ready:
    known: dict[str, object] = {"home": "/my home", "ui": "http://127.0.0.1:4200", "api": "http://127.0.0.1:4200/api"}
    known |= {"scheduler": "tcp://127.0.0.1:5", "password": False, "certificates": None, "threads": 2}
    known |= {"processes": dict.fromkeys(PARTS, 7), "loaded": None, "deployments": [], "notes": [], "logs": "/logs"}
    return Ready(**(known | {"seconds": 1.0} | more))  # type: ignore[arg-type]


def test_without_tls_and_password_nothing_is_said_of_them() -> None:
    text = ready().text()
    assert "server       http://127.0.0.1:4200 (process 7)\n" in text
    assert "prefect deployment run daily/manual" in text
    assert not [word for word in ("AUTH_STRING", "CERT", "DASK_CONFIG") if word in text]
    assert ready().to_dict()["certificates"] is None


def test_the_commands_name_certificates_and_the_variable_of_the_password(tmp_path: Path) -> None:
    certificates = made(tmp_path / "t ls", "127.0.0.1")
    found = ready(password=True, certificates=certificates, scheduler="tls://127.0.0.1:5")
    (server,) = [line for line in found.text().splitlines() if line.startswith("server")]
    assert server.endswith(
        f"; asks for the password in PREFECT_SERVER_API_AUTH_STRING, shows a certificate of {tmp_path}/t ls/ca.pem"
    )
    assert found.commands["watch"].startswith(
        "COLUMNS=120 PREFECT_API_URL=http://127.0.0.1:4200/api "
        'PREFECT_API_AUTH_STRING="$PREFECT_SERVER_API_AUTH_STRING" '
        f"PREFECT_API_SSL_CERT_FILE='{tmp_path}/t ls/ca.pem' "
    )
    own = f"DASK_CONFIG='{tmp_path}/t ls/dask.yaml' kline --home '/my home' run --scheduler tls://127.0.0.1:5"
    assert own in found.text()
    assert found.to_dict()["certificates"] == f"{tmp_path}/t ls/ca.pem"
