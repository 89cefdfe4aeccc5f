"""Who gets in with which certificates; those are made here."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml
from distributed import LocalCluster, Security

from flows.local_stack.certificates import Certificates, certificates_of, encryption_is_required, made, named
from kline_core.compute.opening import open_cluster
from kline_core.compute.tls_fault import tls_fault
from kline_core.errors import SchedulerError, SettingError

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return made(tmp_path_factory.mktemp("ours") / "tls", HOST)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return made(tmp_path_factory.mktemp("theirs") / "tls", HOST)


@pytest.fixture(scope="module")
def scheduler(ours: Certificates) -> Iterator[str]:
    """A cluster that asks for certificates of our CA: its address."""
    with dask.config.set(ours.dask):
        cluster = LocalCluster(
            protocol="tls://",
            security=Security(),
            processes=False,
            n_workers=1,
            threads_per_worker=1,
            dashboard_address=f"{HOST}:0",
            worker_dashboard_address=f"{HOST}:0",
            host=HOST,
        )
    with cluster:
        yield str(cluster.scheduler_address)


def configuration(certificates: Certificates, **other: object) -> dict[str, object]:
    """Dask's configuration with these certificates, without those whose value is None."""
    found = certificates.dask | {f"distributed.comm.tls.{key.replace('_', '.')}": other[key] for key in other}
    return {key.replace("ca.file", "ca-file"): value for key, value in found.items()}


@pytest.mark.slow
def test_who_has_the_certificate_gets_in(ours: Certificates, scheduler: str) -> None:
    assert scheduler.startswith("tls://127.0.0.1:")
    with dask.config.set(ours.dask), open_cluster(scheduler) as cluster:
        assert cluster.call(abs, -3) == 3


def test_who_has_another_certificate_does_not(
    ours: Certificates, theirs: Certificates, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kline_core.compute.standing.CONNECT_SECONDS", 1.0)
    # Their scheduler is none that we take; a CA that is known does not make their own certificate one of ours.
    mixed = configuration(theirs, ca_file=ours.files["ca-file"])
    for settings, says in (
        (theirs.dask, f"its certificate is not taken by the CA in {theirs.files['ca-file']} "),
        (mixed, f"it does not take the certificate {theirs.files['client.cert']} of this process .*UNKNOWN_CA"),
    ):
        with (
            dask.config.set(settings),
            pytest.raises(SchedulerError, match=f"no Dask scheduler answers at {scheduler}: {says}"),
            open_cluster(scheduler),
        ):
            pass


def test_what_listens_without_tls_is_told_from_what_does_not_listen(ours: Certificates, standing: str) -> None:
    with dask.config.set(ours.dask):
        context = Security().get_connection_args("client")["ssl_context"]
    said = tls_fault(standing.replace("tcp://", "tls://"), context, "ca.pem", "own.pem", 5.0)
    assert said == f"what listens there uses no TLS; name it {standing} if it is a scheduler"
    assert tls_fault("tls://127.0.0.1:9", context, "ca.pem", "own.pem", 5.0) is None


def test_who_has_none_is_told_what_to_name(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kline_core.compute.standing.CONNECT_SECONDS", 1.0)
    says = "names no certificates; name files in DASK_DISTRIBUTED__COMM__TLS__CA_FILE, .*, or a file with them in DASK_"
    with pytest.raises(SchedulerError, match=says), open_cluster(scheduler):
        pass
    plain = scheduler.replace("tls://", "tcp://")
    with pytest.raises(SchedulerError, match=f"name it {scheduler} if it uses TLS"), open_cluster(plain):
        pass


def test_without_tls_nothing_is_sent_where_it_is_required(ours: Certificates, tmp_path: Path) -> None:
    with (
        dask.config.set(ours.dask),
        pytest.raises(SchedulerError, match=r"tcp://127.0.0.1:9 is an address without TLS, which .* requires"),
        open_cluster("tcp://127.0.0.1:9"),
    ):
        pass
    broken = tmp_path / "cert.pem"
    broken.write_text("none")
    with (
        dask.config.set(configuration(ours, client_cert=str(broken))),
        pytest.raises(SchedulerError, match=r"certificates that .* cannot be used \(SSLError.*correct DASK_"),
        open_cluster("tls://127.0.0.1:9"),
    ):
        pass


@pytest.mark.slow
def test_in_this_process_required_encryption_changes_nothing(ours: Certificates) -> None:
    with dask.config.set({"distributed.comm.require-encryption": True}), open_cluster(threads=1) as cluster:
        assert encryption_is_required()
        assert cluster.call(abs, -3) == 3
        assert cluster.address.startswith("inproc://")
    assert not encryption_is_required()
    with dask.config.set({"distributed.comm.default-scheme": "tls"}):
        assert encryption_is_required()
    # Nor do the certificates of the user's own cluster.
    with dask.config.set(ours.dask), open_cluster(threads=1) as cluster:
        assert cluster.call(abs, -3) == 3


def test_new_certificates_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    folder.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        first = made(folder, HOST)
        key = Path(str(first.files["client.key"])).read_bytes()
        second = made(folder, HOST)
    finally:
        os.umask(before)
    assert first == second
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {"ca.pem", "cert.pem", "key.pem", "dask.yaml"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert Path(str(second.files["client.key"])).read_bytes() != key


def test_the_file_for_other_programs_says_the_same(ours: Certificates) -> None:
    assert ours.configuration is not None
    told = yaml.safe_load(ours.configuration.read_text())
    for nested in (told, dask.config.collect_env(ours.environment)):
        with dask.config.set(dict(flat(nested))):
            assert encryption_is_required()
            assert named(HOST) == Certificates(ours.files)


def flat(nested: dict[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Single keys: `dask.config.set` would replace whole branches, also for a cluster that runs in another thread."""
    for key, value in nested.items():
        yield from flat(value, f"{above}{key}.") if isinstance(value, dict) else [(f"{above}{key}", value)]


def test_own_certificates_come_first_and_new_ones_are_for_loopback(ours: Certificates, tmp_path: Path) -> None:
    assert named(HOST) is None
    assert certificates_of(HOST, tmp_path / "tls").files["ca-file"] == str(tmp_path / "tls" / "ca.pem")
    with pytest.raises(SettingError, match=r"--host is 192.0.2.5, and there are no certificates for it; name .*CA"):
        certificates_of("192.0.2.5", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with dask.config.set(ours.dask):
        assert certificates_of(HOST, tmp_path / "other") == Certificates(ours.files)


def test_relative_names_are_of_this_folder(ours: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(ours.files["ca-file"]).parent)
    short = {key: Path(value).name for key, value in ours.files.items()}
    with dask.config.set(Certificates(short).dask):
        assert named(HOST) == Certificates(ours.files)


def test_certificates_that_cannot_be_used_are_named(ours: Certificates, theirs: Certificates, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(ours.files[key]).read_bytes() for key in ("client.cert", "client.key")))
    wrong = {
        "names .*scheduler.cert and no distributed.comm.tls.ca-file; .*TLS__CA_FILE=FILE": {"ca_file": None},
        "and no distributed.comm.tls.worker.cert; .*TLS__WORKER__CERT=FILE": {"worker_cert": None},
        r"tls.scheduler.cert is no/such.pem, which is no file": {"scheduler_cert": "no/such.pem"},
        r"tls.scheduler.cert is a text, which is no file": {"scheduler_cert": "-----BEGIN\n"},
        "tls.ca-file is .*empty.pem, which cannot be used": {"ca_file": str(empty)},
        "tls.client.cert is .*empty.pem, which cannot be used": {"client_cert": str(empty)},
        "tls.client.cert is .*, which cannot be used; .* with its own key": {"client_key": theirs.files["client.key"]},
        "scheduler.cert and distributed.comm.tls.worker.cert do not go together for 127.0.0.1: .*local issuer": {
            "ca_file": theirs.files["ca-file"]
        },
    }
    for says, settings in wrong.items():
        cleared = configuration(ours, **settings)
        with dask.config.set(cleared), pytest.raises(SettingError, match=says):
            named(HOST)
    # Only the client's is of others.
    pair = {"client_cert": theirs.files["client.cert"], "client_key": theirs.files["client.key"]}
    with dask.config.set(configuration(ours, **pair)), pytest.raises(SettingError, match=r"client.cert do not go"):
        named(HOST)
    with dask.config.set(ours.dask), pytest.raises(SettingError, match=r"ca-file do not go together for 127.0.0.9: IP"):
        named("127.0.0.9")
    with dask.config.set(configuration(ours, client_cert=str(both), client_key=None)):
        assert named(HOST) is not None


def test_the_key_of_a_certificate_with_a_password_is_not_asked_for(ours: Certificates, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(Path(ours.files["client.key"]).read_bytes(), None)
    locked = tmp_path / "key.pem"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    shutil.copy(ours.files["client.cert"], tmp_path)
    settings = configuration(ours, client_key=str(locked))
    with dask.config.set(settings), pytest.raises(SettingError, match="its own key, which has no password"):
        named(HOST)
