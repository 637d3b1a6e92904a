"""The OpenAI API, mocked."""

import json

import httpx2
import pytest

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.services import request
from fedbbpt.services.ledger import Account
from fedbbpt_backends.openai_api import OpenAI

PROVIDER = Provider(("pos", "neg", "mid"), question="Sentiment", label_words=("good", "bad", "so so"))
TOP = {" good": -0.5, " bad": -1.5, " so": -3.0}
CLIENT = httpx2.Client


class FakeApi:
    """A stand-in for the API: `answer(path, body)` returns a status, headers and a body, or raises the body."""

    def __init__(self):
        self.bodies, self.requests = [], []
        self.answer = self._usual_answer

    def __call__(self, request):
        body = json.loads(request.content)
        self.bodies.append(body)
        self.requests.append(request)
        status, headers, content = self.answer(request.url.path, body)
        if isinstance(content, Exception):
            raise content
        if isinstance(content, bytes):
            return httpx2.Response(status, headers=headers, content=content)
        return httpx2.Response(status, headers=headers, json=content)

    def _usual_answer(self, path, body):
        return 200, {}, self.chat() if "chat" in path else self.completions(len(body["prompt"]))

    @staticmethod
    def chat(text="good", top=TOP):
        """An answer in words, with the log-probabilities of the most likely tokens."""
        listed = [{"token": token, "logprob": log_p, "bytes": None} for token, log_p in (top or {}).items()]
        content = [{"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": listed}]
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": content} if top else None,
        }
        usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
        return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}

    @staticmethod
    def completions(count):
        """Answers to as many prompts, the last one first: each says which prompt it is for."""
        choices = [
            {
                "index": i,
                "text": " good",
                "finish_reason": "length",
                "logprobs": {
                    "tokens": [" good"],
                    "token_logprobs": [-0.5],
                    "text_offset": [0],
                    "top_logprobs": [{" good": -0.5 - i, " bad": -2.0}],
                },
            }
            for i in reversed(range(count))
        ]
        usage = {"prompt_tokens": 11 * count, "completion_tokens": count, "total_tokens": 12 * count}
        return {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": choices, "usage": usage}


@pytest.fixture
def mock_api(monkeypatch, tmp_path):
    """`mock_api(answer)`: all requests of httpx2 go to `answer`, which takes one and returns a response."""

    def mock(answer):
        transport = httpx2.MockTransport(answer)
        mocked = {"__init__": lambda self, **_: CLIENT.__init__(self, transport=transport)}
        monkeypatch.setattr(httpx2, "Client", type("Mocked", (CLIENT,), mocked))

    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    monkeypatch.setattr(request, "MIN_BACKOFF", 0.001)
    return mock


@pytest.fixture
def service(mock_api, monkeypatch):
    """The API, which takes any key."""
    service = FakeApi()
    mock_api(service)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    return service


@pytest.fixture
def open_backend():
    """`open_backend(provider, **options)`: a backend that asks for the log-probabilities of 20 tokens."""

    def build(provider=PROVIDER, **options):
        backend = OpenAI(provider, **{"top_logprobs": 20, "max_tokens_parameter": "max_tokens", "retries": 2} | options)
        backend.service_client.bill_to(Account("a run"))
        return backend

    return build


@pytest.fixture
def texts():
    """Two inputs."""
    return as_texts(["a film", "another"])
