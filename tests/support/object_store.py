"""An S3-compatible object store in a process of its own, whose faults tests choose.

Delta holds the interpreter while it waits for an answer, so a thread of the same process could not give it.
"""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep, time
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    import pytest

SET = "/_faults/"
"""Path under which a POST chooses a fault: `/_faults/refused/3`."""


class ObjectStore:
    """The store as tests see it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port, self.host = port, host

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which Delta finds it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def fault(self, name: str, value: int) -> None:
        """Choose a fault: `conditional` (0: `If-None-Match` is not heeded and objects are overwritten), `refused` (that
        many requests end in a closed connection), `every` (of so many, one does), `busy` (that many are answered
        with 503), `delay` (milliseconds before each answer)."""
        self._ask(f"{name}/{value}")

    def names(self) -> list[str]:
        """Bucket and key of every object, sorted."""
        return self._ask("names/0").split()

    def sent(self) -> dict[str, int]:
        """Bytes of objects and of lists of them that each address was sent."""
        found: dict[str, int] = json.loads(self._ask("sent/0"))
        return found

    def put(self, name: str, content: bytes) -> None:
        """Store an object under its bucket and key."""
        connection = HTTPConnection(self.host, self.port)
        connection.request("PUT", f"/{quote(name)}", content)
        assert connection.getresponse().status == 200
        connection.close()

    def clear(self) -> None:
        """Remove all objects, and choose no fault."""
        self._ask("clear/0")

    def empty(self, name: str) -> None:
        """Leave nothing of an object but its name."""
        self._ask(f"empty/{name}")

    def _ask(self, what: str) -> str:
        connection = HTTPConnection(self.host, self.port)
        connection.request("POST", f"{SET}{what}")
        answer = connection.getresponse().read().decode()
        connection.close()
        return answer


@contextmanager
def object_store(monkeypatch: "pytest.MonkeyPatch") -> Iterator[ObjectStore]:
    """A store that lasts for the block, named by the environment variables that Delta reads."""
    with subprocess.Popen([sys.executable, "-m", __spec__.name], stdout=subprocess.PIPE, text=True) as process:
        try:
            store = ObjectStore(int(process.stdout.readline()))
            for name, value in store.environment.items():
                monkeypatch.setenv(name, value)
            yield store
        finally:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    objects: ClassVar[dict[str, tuple[bytes, float]]] = {}
    parts: ClassVar[dict[tuple[str, int], bytes]] = {}
    none: ClassVar[dict[str, int]] = {"conditional": 1, "refused": 0, "every": 0, "busy": 0, "delay": 0}
    faults: ClassVar[dict[str, int]] = {**none, "seen": 0}
    sent: ClassVar[dict[str, int]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format, *words):
        pass

    def parse_request(self):
        if not super().parse_request():
            return False
        if self.path.startswith(SET):
            return True
        with self.lock:
            faults = self.faults
            refused, busy = faults["refused"] > 0, faults["busy"] > 0
            faults["refused"] -= refused
            faults["busy"] -= busy
            faults["seen"] += 1
            refused |= faults["every"] > 0 and faults["seen"] % faults["every"] == 0
        sleep(faults["delay"] / 1000)
        if busy and not refused:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
        elif refused:
            self.close_connection = True
            self.connection.close()
        return not refused and not busy

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if self.command == "GET":
            with self.lock:
                self.sent[self.client_address[0]] = self.sent.get(self.client_address[0], 0) + len(body)

    @property
    def key(self):
        return unquote(urlsplit(self.path).path).strip("/")

    @property
    def query(self):
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, True).items()}

    def missing(self):
        self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "uploadId" in self.query:
            self.parts[self.key, int(self.query["partNumber"])] = body
            return self.answer(200, ETag=_etag(body))
        with self.lock:
            taken = self.key in self.objects
            if taken and self.faults["conditional"] and self.headers.get("If-None-Match") == "*":
                return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            self.objects[self.key] = (body, time())
        return self.answer(200, ETag=_etag(body))

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if "list-type" in self.query:
            return self.list()
        with self.lock:
            found = self.objects.get(self.key)
        if found is None:
            return self.missing()
        body, when = found
        said = {"ETag": _etag(body), "Last_Modified": formatdate(when, usegmt=True)}
        if not (span := self.headers.get("Range")):
            return self.answer(200, body, **said)
        first, last = span.removeprefix("bytes=").split("-")
        start = int(first) if first else max(len(body) - int(last), 0)
        part = body[start : int(last) + 1 if first and last else None]
        return self.answer(206, part, Content_Range=f"bytes {start}-{start + len(part) - 1}/{len(body)}", **said)

    def do_DELETE(self):
        with self.lock:
            self.objects.pop(self.key, None)
        self.answer(204)

    def do_POST(self):
        if self.path.startswith(SET):
            name, value = self.path.removeprefix(SET).split("/", 1)
            if name == "names":
                return self.answer(200, "\n".join(sorted(self.objects)).encode())
            if name == "sent":
                return self.answer(200, json.dumps(self.sent).encode())
            if name == "empty":
                self.objects[value] = (b"", time())
            elif name == "clear":
                self.objects.clear()
                self.sent.clear()
                self.faults.update(self.none)
            else:
                self.faults[name] = int(value)
            return self.answer(200)
        if "uploads" in self.query:
            text = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            return self.answer(200, text.encode())
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "uploadId" in self.query:
            mine = sorted(part for part in self.parts if part[0] == self.key)
            self.objects[self.key] = b"".join(self.parts.pop(part) for part in mine), time()
            done = "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
            return self.answer(200, done.encode())
        keys = [part.split("</Key>")[0] for part in body.split("<Key>")[1:]]
        with self.lock:
            for key in keys:
                self.objects.pop(f"{self.key}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def list(self):
        asked, start = self.query, len(self.key) + 1
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter")
        with self.lock:
            held = {name[start:]: at for name, at in self.objects.items() if name.startswith(f"{self.key}/")}
        contents, folders = [], set()
        for name in sorted(held):
            if not name.startswith(prefix) or name <= asked.get("start-after", ""):
                continue
            if delimiter and delimiter in name[len(prefix) :]:
                folders.add(prefix + name[len(prefix) :].split(delimiter)[0] + delimiter)
                continue
            body, when = held[name]
            stamp = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            contents.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{stamp}</LastModified>"
                f"<ETag>{escape(_etag(body))}</ETag><Size>{len(body)}</Size></Contents>"
            )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(contents)}{common}</ListBucketResult>"
        self.answer(200, text.encode(), Content_Type="application/xml")


def _etag(body):
    return f'"{hashlib.md5(body).hexdigest()}"'


if __name__ == "__main__":
    server = ThreadingHTTPServer((sys.argv[1] if sys.argv[1:] else "127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
