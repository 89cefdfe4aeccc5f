"""A PostgreSQL server for the time of a test: Debian's package, on loopback, in a folder of its own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import end, free_port, poll


def binaries() -> Path | None:
    """Folder with `initdb` and `postgres`, the newest of several; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("postgres")
    return Path(there).parent if there and shutil.which("initdb") else None


@contextmanager
def postgres() -> Iterator[str]:
    """The URL by which Prefect finds the database."""
    folder = binaries()
    assert folder is not None
    # Not below pytest's folder, which only its owner may enter: PostgreSQL refuses to run as root.
    place = Path(tempfile.mkdtemp(prefix="kline-postgres-"))
    data, port = place / "data", free_port()
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(place, account.pw_uid, account.pw_gid)
    try:
        initdb = [str(folder / "initdb"), "-D", str(data), "-A", "trust", "-U", "kline", "--encoding", "UTF8"]
        subprocess.run(initdb, check=True, user=user, cwd=place, capture_output=True)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        with (place / "log").open("wb") as log:
            command = [str(folder / "postgres"), "-D", str(data), "-p", str(port), *options]
            running = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=place)
        try:
            _wait(folder, port, running)
            yield f"postgresql+asyncpg://kline@127.0.0.1:{port}/postgres"
        finally:
            end(running)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _wait(folder: Path, port: int, running: subprocess.Popen[bytes]) -> None:
    ask = [str(folder / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]

    def ready() -> bool:
        assert running.poll() is None, "PostgreSQL ended"
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0

    poll(ready, "answer of PostgreSQL")
