"""A text model made of arithmetic, and any backend served on a local port."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit
from zlib import crc32

import httpx2
import numpy as np
import pytest

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Provider
from fedbbpt.errors import ConfigError
from fedbbpt.serve import RequestLimits
from fedbbpt.serve.app import InferenceService
from fedbbpt.serve.batching import model_thread
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.server import bind, make_server, url_of

CLASSES = ("ham", "spam", "other")
PROVIDER = Provider(CLASSES, label_words=("fine", "bad", "odd"))
LIMITS = RequestLimits()


class FakeTexts(Backend):
    """Scores texts, or images of a `size`. As with real models, the last bits depend on the other inputs of the batch.

    It does not answer "lost", cannot read "unreadable", and fails at "broken". `batches` holds the texts of all
    batches; while `gate` is cleared, no batch returns.
    """

    def __init__(self, *, max_batch=4, scores="logits", size=None):
        self.info = BackendInfo("fake-texts", size, CLASSES, scores, max_batch)
        self.feature_extractor = lambda inputs: BackendOutput(self.features(inputs))
        self.batches = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def query(self, inputs):
        assert 0 < len(inputs) <= self.info.max_batch
        names = [str(one) for one in inputs]
        self.batches.append(names)
        self.entered.release()
        assert self.gate.wait(10)
        if "unreadable" in names:
            raise ConfigError("prompt and template take 9 tokens, and the model reads 8")
        if "broken" in names:
            raise RuntimeError("broken by the secret text")
        scores = self.features(inputs)[:, : len(CLASSES)]
        scores[[name == "lost" for name in names]] = np.nan
        return BackendOutput(scores, tokens=sum(map(len, names)), output_tokens=len(inputs))

    def features(self, inputs):
        seeds = [np.random.default_rng(crc32(str(one).encode())) for one in inputs]
        rows = np.stack([seed.normal(size=5) for seed in seeds])
        return (rows * (1 + 1e-6 * len(inputs))).astype(np.float32)


@contextmanager
def _served(backend, provider=PROVIDER, *, limits=LIMITS, token=None, tuned=None) -> Iterator[str]:
    with bind("127.0.0.1", 0, token) as bound, model_thread() as model:
        service = InferenceService(model, ServedModel(backend, provider, tuned), limits, token)
        server = make_server(service)
        bound.listen()
        url = url_of(bound)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()
            service.close()


@pytest.fixture(scope="session")
def make_texts() -> type[FakeTexts]:
    """The class of the text model."""
    return FakeTexts


@pytest.fixture
def texts() -> FakeTexts:
    """A text model of three classes, with at most 4 texts per batch."""
    return FakeTexts()


@pytest.fixture(scope="session")
def serving() -> Callable:
    """`serving(backend, provider, limits=, token=)`: a context with the URL of a running service."""
    return _served


@pytest.fixture
def client(texts) -> Iterator[httpx2.Client]:
    """An HTTP client of the text model's service."""
    with _served(texts) as url, httpx2.Client(base_url=url) as client:
        yield client


def _connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=5)


def _send_raw(url: str, data: bytes) -> bytes:
    response = b""
    with _connect(url) as connection:
        connection.sendall(data)
        with suppress(ConnectionResetError):  # if the service has not read all of them
            while more := connection.recv(65536):
                response += more
    return response


@pytest.fixture(scope="session")
def connect() -> Callable[[str], socket.socket]:
    """`connect(url)`: a connection to the service."""
    return _connect


@pytest.fixture(scope="session")
def send_raw() -> Callable[[str, bytes], bytes]:
    """`send_raw(url, data)`: the response, until the service closes the connection, to bytes of any kind."""
    return _send_raw
