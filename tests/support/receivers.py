"""What is sent to loopback: servers that take webhooks and mails, and keep them."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """Where to send to, and what has come: JSON documents or mails, in their order."""

    url: str
    messages: list[Any]
    headers: list[dict[str, str]]


@contextmanager
def webhook_receiver(status: int = 204) -> Iterator[Received]:
    """A server of HTTP that takes JSON documents, and answers with a status."""
    messages: list[Any] = []
    headers: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers.append(dict(self.headers))
            messages.append(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield Received(f"http://127.0.0.1:{port}/hooks/secret", messages, headers)


@contextmanager
def mail_receiver() -> Iterator[Received]:
    """A mail server without TLS, which takes every mail."""
    messages: list[EmailMessage] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 loopback")
            while line := self.rfile.readline():
                word = line.split(maxsplit=1)[0].upper() if line.strip() else b""
                if word == b"DATA":
                    self._say("354 go on")
                    lines = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text.removeprefix(b"."))
                    messages.append(message_from_bytes(b"".join(lines), policy=policy.default))
                self._say("221 bye" if word == b"QUIT" else "250 ok")
                if word == b"QUIT":
                    return

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with served(Server(("127.0.0.1", 0), Handler)) as port:
        yield Received(f"smtp://127.0.0.1:{port}", messages, [])


@contextmanager
def served(server: socketserver.BaseServer) -> Iterator[int]:
    """A server that answers in a thread; its port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
