"""A chat service on this machine that is paid by the request, and remembers what it was paid for."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from typing import Any
from zlib import crc32

SIGNS = {"good": "bright", "bad": "dull"}  # classes, and words that speak for them
TOKENS = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}  # whatever the question


class PaidService:
    """What a service was asked. It charges once for all requests under one idempotency key.

    Attributes:
        charged: the requests that it was paid for, by key.
        requests: how many requests reached it.
        takes: seconds for an answer.
    """

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.charged: dict[str, str] = {}
        self.requests = 0
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, key: str, body: Any) -> bytes:
        """Charges for a question, and answers it: by its text alone, somewhat rightly."""
        time.sleep(self.takes)
        text = json.dumps(body["messages"])
        with self._lock:
            self.requests += 1
            self.charged.setdefault(key, text)
        weights = {
            name: text.count(sign) + crc32(f"{name}{text}".encode()) / 2**31 + 0.1 for name, sign in SIGNS.items()
        }
        total = sum(weights.values())
        top = [{"token": name, "logprob": log(weight / total), "bytes": None} for name, weight in weights.items()]
        said = max(top, key=lambda one: one["logprob"])
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": said["token"]},
            "logprobs": {"content": [said | {"top_logprobs": top}]},
        }
        about = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        return json.dumps(about | {"choices": [choice], "usage": TOKENS}).encode()

    def forget(self) -> None:
        """Begins a new log."""
        with self._lock:
            self.charged, self.requests = {}, 0


@contextmanager
def paid_service(takes: float = 0.0) -> Iterator[PaidService]:
    """A service that runs in threads of this process; an answer takes so many seconds."""
    service = PaidService(takes)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = service.answer(self.headers["Idempotency-Key"], body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # whoever asked was killed
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield service
        server.shutdown()
