"""A fault-injecting HTTP proxy: `python -m fedbbpt_benchmarks.experiments.fault_proxy --to URL --rate .2`.

What a client may meet between itself and a service, drawn from a seed: the same requests, one after the other, meet the
same. They must say their length; they and their answers are passed on whole, over HTTP without TLS.
"""

import json
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from fedbbpt.commands.errors import Program
from fedbbpt.errors import UnknownName

KINDS = {
    "drop": "the request is not passed on, and the connection closed",
    "lose": "the request is passed on, its answer thrown away, and the connection closed",
    "delay": "the answer comes 0.05 to 1 s later",
    "reset": "the connection is reset in the middle of the answer",
    "storm": "this request and the next two are turned away: 429 with Retry-After: 1",
    "error": "500",
    "truncate": "half of the answer, with the length of all of it",
    "garble": "malformed JSON",
    "nan": "null or NaN in place of a score, where the answer has one",
    "duplicate": "the request is passed on twice",
    "reorder": "the answer leaves after the next one, if that leaves within a second",
}
PASSED = "passed"  # what meets none of them
STORM = 3  # requests
SHORTEST, LONGEST = 0.05, 1.0  # seconds of a delay
HELD, BEHIND = 1.0, 0.02  # seconds that an answer waits for the next one, at most; and that it then leaves behind it
PATIENCE = 600.0  # seconds that a service may take
OF_A_CONNECTION = ("host", "connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding")
SCORES = ("score", "prob", "logit", "embedding")  # parts of the names of what "nan" spoils


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


AT_ONCE = {"storm": Answer(429, [("Retry-After", "1")], b"too many requests"), "error": Answer(500, [], b"broken")}


class FaultProxy(ThreadingHTTPServer):
    """A proxy before the service `to`; it runs in a `with` block.

    The share `rate` of the requests meets one of `kinds`, each equally often (and a storm then takes two more). `url`
    is where to ask, `counts` says how many requests met what; they add up to all requests.

    Raises:
        UnknownName: no such kind.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, to: str, rate: float, seed: int, kinds: Collection[str] = tuple(KINDS), port: int = 0) -> None:
        for kind in kinds:
            if kind not in KINDS:
                raise UnknownName("fault", kind, KINDS)
        super().__init__(("127.0.0.1", port), _Handler)
        self.to, self.url = urlsplit(to), f"http://127.0.0.1:{self.server_port}"
        self.counts: Counter[str] = Counter()
        self._rate, self._kinds = rate, sorted(kinds)
        self._random, self._stormy = random.Random(seed), 0
        self._sent, self._holding, self._changed = 0, False, threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def draw(self) -> tuple[str, float]:
        """What the next request meets, and a number in [0, 1) for how."""
        with self._changed:
            spared, kind, chance = self._random.random(), self._random.choice(self._kinds), self._random.random()
            if self._stormy:
                self._stormy -= 1
                return "storm", chance
            if spared >= self._rate:
                return PASSED, chance
            if kind == "storm":
                self._stormy = STORM - 1
            return kind, chance

    def count(self, kind: str) -> None:
        """A request has met this."""
        with self._changed:
            self.counts[kind] += 1

    def sent(self) -> None:
        """An answer has left."""
        with self._changed:
            self._sent += 1
            self._changed.notify_all()

    def wait_for_the_next(self) -> None:
        """Until another answer has left; who comes while somebody waits here goes first."""
        with self._changed:
            if self._holding:
                return
            self._holding, before = True, self._sent
            self._changed.wait_for(lambda: self._sent > before, HELD)
            self._holding = False
        time.sleep(BEHIND)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """That a client has gone is nothing to tell of."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind, chance = self.server.draw()
        if kind == "drop":
            self.server.count(kind)
            self.close_connection = True
        elif kind in AT_ONCE:
            self.server.count(kind)
            self._send(AT_ONCE[kind])
        else:
            self._deliver(self._passed_on(body), kind, chance, body)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the names that the base class looks for

    def _deliver(self, answer: Answer, kind: str, chance: float, body: bytes) -> None:
        if kind == "nan":
            spoiled = without_a_score(answer.body, chance)
            kind, answer = (PASSED, answer) if spoiled is None else (kind, answer._replace(body=spoiled))
        self.server.count(kind)
        match kind:
            case "duplicate":
                self._passed_on(body)
            case "delay":
                time.sleep(SHORTEST + chance * (LONGEST - SHORTEST))
            case "reorder":
                self.server.wait_for_the_next()
            case "garble":
                answer = answer._replace(body=b"}" + answer.body)
            case "lose" | "truncate" | "reset":
                self.close_connection = True
        if kind != "lose":
            self._send(answer, half=kind in ("truncate", "reset"))
        if kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # closed at once, whoever else still holds the socket

    def _passed_on(self, body: bytes) -> Answer:
        """What the service says; 502 if it does not."""
        to = self.server.to
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_A_CONNECTION}
        connection = HTTPConnection(to.hostname or "", to.port, timeout=PATIENCE)
        try:
            connection.request(self.command, to.path.rstrip("/") + self.path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        except (OSError, HTTPException) as e:
            return Answer(502, [], f"{to.geturl()} does not answer: {e}".encode())
        finally:
            connection.close()

    def _send(self, answer: Answer, half: bool = False) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in OF_A_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if half else answer.body)
        self.server.sent()


def without_a_score(body: bytes, chance: float) -> bytes | None:
    """JSON with null or NaN in place of one of its scores, which the number in [0, 1) chooses; None if it has none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    places = [(where, key, value) for where, key in _scores(answer) for value in (None, float("nan"))]
    if not places:
        return None
    where, key, value = places[int(chance * len(places))]
    where[key] = value
    return json.dumps(answer).encode()


def _scores(value: Any, named: bool = False) -> Iterator[tuple[Any, Any]]:
    """Where parsed JSON has numbers that are called scores, themselves or the list around them."""
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        called = any(part in key.lower() for part in SCORES) if isinstance(value, dict) else named
        if called and type(child) in (int, float):
            yield value, key
        yield from _scores(child, called)


@click.command(cls=Program, epilog="\b\n" + "\n".join(f"{kind:<10} {what}" for kind, what in KINDS.items()))
@click.option("--to", required=True, help="Where the service is, say http://127.0.0.1:8000.")
@click.option("--port", default=9000, show_default=True)
@click.option("--rate", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the requests.")
@click.option("--seed", default=1, show_default=True)
@click.option("--kinds", default=",".join(KINDS), help="What they meet, in equal shares; see below.  [default: all]")
def main(to: str, port: int, rate: float, seed: int, kinds: str) -> None:
    """Passes on what comes, but for faults; prints at Ctrl-C how many requests met what."""
    try:
        proxy = FaultProxy(to, rate, seed, kinds.split(","), port)
    except UnknownName as e:
        raise click.UsageError(str(e)) from e
    with proxy, suppress(KeyboardInterrupt):
        click.echo(f"{proxy.url} → {to}")
        threading.Event().wait()
    for kind, count in proxy.counts.most_common():
        click.echo(f"{kind:<10} {count:>8}")


if __name__ == "__main__":
    main()
