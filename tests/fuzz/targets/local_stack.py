"""What `kline up` reads: `prefect.yaml`, and the environment."""

import json
import os
import random
from pathlib import Path
from unittest.mock import patch

import flows
from flows.local_stack.deployments import check_project
from flows.local_stack.user_settings import check as check_options
from flows.local_stack.user_settings import inherited
from kline_core._secrets import masked
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.target import Taken, Target, check

_ANCHORS = [
    *(b"&a ", b"*a", b"<<: *a", b"<<: [*a, *a]", b"!!python/object/apply:os.system [id]", b"!!binary x", b"!!int ''"),
    *(
        b"!!bool x",
        b"!!float ''",
        b"!!timestamp x",
        b"!!set {a}",
        b"? [a]\n: b",
        b"---\n",
        b"1:1:1",
        b"0b",
        b"=",
        b"\t",
    ),
    *(
        b"deployments:\n",
        b"- name: x\n",
        b"  entrypoint: x.py:f\n",
        b'"\\ud800"',
        b"\xc2\x85",
        b"%YAML 9.9\n",
        b"{",
        b"~: ",
    ),
]


def projects(_folder: Path) -> list[bytes]:
    own = (Path(flows.__file__).parent / "prefect.yaml").read_bytes()
    small = b"deployments:\n- name: x\n  entrypoint: flows.py:f\n  work_pool: {name: kline}\n"
    doubling = b"".join(
        b"k%d: &k%d {<<: [%s], x%d: 1}\n" % (n, n, b", ".join([b"*k%d" % (n - 1)] * 2), n) for n in range(1, 40)
    )
    return [small, own, b"a: &a {x: 1}\nb: {<<: *a}\n" + small, b"k0: &k0 {x: 1}\n" + doubling + small]


def mutate_yaml(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    if draw.random() < 0.5:
        return mutate_bytes(draw, data, kept)
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.choice(_ANCHORS) + data[at + draw.choice((0, 0, 1, 5)) :]


def take_project(case: bytes, work: Path) -> Taken:
    (work / "flows.py").touch()
    file = work / "prefect.yaml"
    file.write_bytes(case)
    check_project(file)
    return Taken()


def environments(_folder: Path) -> list[bytes]:
    given = {"PREFECT_SERVER_API_AUTH_STRING": "a:secret", "PREFECT_API_AUTH_STRING": "a:secret", "KLINE_HOME": "/x"}
    more = {"PREFECT_CLIENT_METRICS_ENABLED": "0", "PREFECT_SERVER_API_PORT": "4200", "MY_PASSWORD": "long secret"}
    return [
        json.dumps(each).encode() for each in (given, given | more, more, {"PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "1"})
    ]


def take_environment(case: bytes, _work: Path) -> Taken:
    try:
        given = json.loads(case)
    except (ValueError, RecursionError):
        return Taken()
    pairs = given.items() if isinstance(given, dict) else ()
    names = {str(name).replace("\0", "").replace("=", ""): str(value).replace("\0", "") for name, value in pairs}
    encodable = {name: value for name, value in names.items() if name and _is_text(name + value)}
    with patch.dict(os.environ, encodable):
        shown = masked(" ".join(encodable.values()))
        for name, value in encodable.items():
            check(name.upper() != "MY_PASSWORD" or len(value) < 6 or value not in shown, "a secret is shown")
        check_options("127.0.0.1", 4200, True)
        kept = inherited()
    check(not any(name.startswith(("KLINE_", "UVICORN_")) for name in kept), "another program's variable is kept")
    return Taken()


def _is_text(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


PROJECT = Target(("/deployments.py",), projects, take_project, mutate_yaml)
ENVIRONMENT = Target(("/user_settings.py", "/_secrets.py"), environments, take_environment, mutate_json)
