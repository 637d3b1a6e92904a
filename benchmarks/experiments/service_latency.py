"""How fast services are asked and served: `python -m fedbbpt_benchmarks.experiments.service_latency latency | serving`.

Ratios, each taken in one run on one machine. Services run in processes of their own, on loopback.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import click
import numpy as np

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.services import client
from fedbbpt_backends.openai_api import OpenAI

PROVIDER = Provider(("good", "bad"))
TOP = [{"token": word, "logprob": -1.0, "bytes": None} for word in PROVIDER.classes]
CONTENT = [{"token": "good", "logprob": -1.0, "bytes": None, "top_logprobs": TOP}]
EVERY = 0.1  # seconds between two looks at whether a service is healthy
CHOICE = {
    "index": 0,
    "finish_reason": "stop",
    "message": {"role": "assistant", "content": "good"},
    "logprobs": {"content": CONTENT},
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
ANSWER = json.dumps(
    {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [CHOICE], "usage": USAGE}
).encode()


@click.group()
def main() -> None:
    """Ratios of what is reached to what is possible."""


@main.command()
@click.option("--queries", default=1000, show_default=True)
@click.option("--takes", default=0.05, show_default=True, help="Seconds that the service takes for each.")
@click.option("--concurrency", default=32, show_default=True)
@click.option("--times", default=5, show_default=True)
def latency(queries: int, takes: float, concurrency: int, times: int) -> None:
    """Throughput against a service that takes its time, as a share of the best that is possible."""
    ideal = -(-queries // concurrency) * takes
    with slow_service(takes) as url, own_cache():
        backend = OpenAI(
            PROVIDER,
            model="m",
            base_url=url,
            top_logprobs=20,
            max_tokens_parameter="max_tokens",
            concurrency=concurrency,
        )
        for number in range(times):
            texts = as_texts([f"{number} {i}" for i in range(queries)])
            started = time.perf_counter()
            for start in range(0, queries, backend.info.max_batch):
                backend.query(texts[start : start + backend.info.max_batch])
            took = time.perf_counter() - started
            click.echo(f"{queries} queries in {took:.2f} s, at best {ideal:.2f} s: {ideal / took:.3f}")


@main.command()
@click.option("--backend", "name", default="local-vit", show_default=True)
@click.option("--task", default="digits", show_default=True)
@click.option("-o", "assignments", multiple=True, metavar="KEY=VALUE", help="Options of the backend.")
@click.option("--clients", default=8, show_default=True)
@click.option("--queries", default=2048, show_default=True, help="Of all clients together, about.")
@click.option("--each", default=16, show_default=True, help="Inputs of one request.")
@click.option("--times", default=5, show_default=True)
def serving(
    name: str, task: str, assignments: tuple[str, ...], clients: int, queries: int, each: int, times: int
) -> None:
    """Throughput of `fedbbpt serve`, as a share of the model's own, and how soon it says that it is healthy."""
    from fedbbpt.commands.serving import open_backend
    from fedbbpt.config.components import build_task, resolve
    from fedbbpt_backends.http_utils import base64_png

    backend, _ = open_backend(name, task, assignments, {})
    limit = backend.info.max_batch
    size = backend.info.input_size
    inputs = build_task(resolve("tasks", task, {})).load(size).train.batch(slice(limit)).inputs
    parts = [inputs[start : start + each] for start in range(0, len(inputs), each)]
    bodies = [json.dumps({"inputs": list(map(base64_png, part) if size else part)}).encode() for part in parts]
    rounds = max(1, queries // len(inputs))
    options = [word for option in assignments for word in ("-o", option)]
    with served("--backend", name, "--task", task, *options) as url, ThreadPoolExecutor(clients) as pool:
        share, late = [], []
        for _ in range(times):
            raw = seconds(lambda: [backend.query(inputs) for _ in range(rounds)])
            with polled(f"{url}/healthz") as waits:
                took = seconds(lambda: list(pool.map(Poster(f"{url}/v1/classify"), rounds * bodies)))
            raw = (raw + seconds(lambda: [backend.query(inputs) for _ in range(rounds)])) / 2  # before and after
            share.append(raw / took)
            late += waits
            click.echo(f"raw {rounds * len(inputs) / raw:.0f}/s, served {rounds * len(inputs) / took:.0f}/s")
    p99 = 1e3 * float(np.percentile(late, 99))
    shown = " ".join(f"{one:.3f}" for one in sorted(share))
    click.echo(f"served / raw: median {np.median(share):.3f} ({shown}); /healthz p99 {p99:.0f} ms ({len(late)})")


class Poster:
    """Posts JSON; each thread has a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url, self._own = urlsplit(url), threading.local()

    def __call__(self, body: bytes) -> Any:
        """The JSON that comes back."""
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection(self._url.netloc)
        self._own.connection.request("POST", self._url.path, body, {"Content-Type": "application/json"})
        return json.load(self._own.connection.getresponse())


def seconds(work: Callable[[], object]) -> float:
    """That some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def polled(url: str) -> Iterator[list[float]]:
    """Polls an address meanwhile; gives the seconds that each response took."""
    waits: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(EVERY):
            started = time.perf_counter()
            with urllib.request.urlopen(url) as answer:
                answer.read()
            waits.append(time.perf_counter() - started)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join()


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """The URL of `fedbbpt serve` in a process of its own."""
    command = [sys.executable, "-u", "-m", "fedbbpt", "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def own_cache() -> Iterator[None]:
    """Answers that are forgotten afterwards."""
    before = os.environ.get("FEDBBPT_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FEDBBPT_CACHE"] = folder
        try:
            yield
        finally:
            client.open_cache.cache_clear()
            os.environ.pop("FEDBBPT_CACHE") if before is None else os.environ.update(FEDBBPT_CACHE=before)


@contextmanager
def slow_service(takes: float) -> Iterator[str]:
    """The URL of a chat service that answers everything the same, after so many seconds."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_answer_slowly, args=(takes, theirs), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{ours.recv()}/v1"
    process.terminate()
    process.join()


def _answer_slowly(takes: float, connection: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            started = time.perf_counter()
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(max(0.0, takes - (time.perf_counter() - started)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    connection.send(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
