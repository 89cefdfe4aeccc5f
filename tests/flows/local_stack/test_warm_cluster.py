from itertools import pairwise
from pathlib import Path

import pytest

from flows.local_stack import warm_cluster
from flows.local_stack.certificates import made
from flows.local_stack.server import Place
from flows.local_stack.warm_cluster import cluster_address, cluster_parts


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_only_what_asks_for_certificates_leaves_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, tls: bool
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(warm_cluster, "Part", lambda _name, command, *_others: commands.append(command))
    address = cluster_address(Place(4999, host, made(tmp_path / "tls", host) if tls else None))
    assert address.startswith(f"{'tls' if tls else 'tcp'}://{host}:")
    cluster_parts({}, tmp_path, address, 2)
    for command in commands:
        options = dict(pairwise(command))
        # By name: Dask's configuration may say otherwise.
        assert options["--protocol"] == address.partition(":")[0]
        assert options["--host"] == host
        assert options["--dashboard-address"] == "127.0.0.1:0"
    assert address in commands[1]
    assert address.rpartition(":")[2] in commands[0]
