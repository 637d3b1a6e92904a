"""One request to the OpenAI API or one of its likenesses: what is sent, what comes back, what its errors mean."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import httpx2
import numpy as np
import openai

from fedbbpt.errors import BackendError
from fedbbpt.json_text import parsed
from fedbbpt.printing import quoted
from fedbbpt.remote import Lost, Reply
from fedbbpt.web.address import below
from fedbbpt.web.by_httpx2 import client
from fedbbpt.web.keys import key_of
from fedbbpt.web.policy import mended_by_waiting
from fedbbpt.web.reply import TooLong
from fedbbpt.web.route import Route
from fedbbpt_backends.wire import PNG, shared

OFFICIAL = "https://api.openai.com/v1"  # not from the environment: a run's config says what was asked
FILTERED = "content_filter"  # why an answer ends that was not given
SPENT = ("insufficient_quota", "billing_hard_limit_reached")  # codes of a 429 that waiting does not mend
T = TypeVar("T")


class Abilities(NamedTuple):
    """What a model can be asked for."""

    logprobs: int  # likeliest tokens that it tells of the next; 0: none
    limit: str  # the parameter that says how much it may write


class Refused(BackendError):  # noqa: N818 - reads as what it says
    """The service does not know a parameter, or does not like its value (HTTP 400, 422)."""


class Endpoint(NamedTuple):
    """Where a model is asked, and how."""

    http: httpx2.Client
    route: Route
    headers: httpx2.Headers  # with the key, which its repr hides
    model: str
    temperature: float
    question: str  # beside an image


class Answer(NamedTuple):
    """What came back for one input."""

    text: str | None  # None: the service would not answer this one
    top: Mapping[str, float] | None  # log-probabilities of the likeliest first tokens
    tokens: int  # read and written
    written: int


Ask = Callable[[Endpoint, Sequence[str], Abilities, int, str], list[Answer]]


def connect(
    key: str, base_url: str | None, timeout: float, connections: int, model: str, temperature: float, question: str
) -> Endpoint:
    """An endpoint that keeps its connections, and repeats nothing by itself: `Desk` does that, and counts.

    OpenAI's own client says where to and with which headers. Its methods are passed by: around each request they take
    about half as long again as the request itself does.
    """
    for variable in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):  # which become headers, too
        if text := os.environ.get(variable):
            key_of(text, variable, "id")
    route = Route(base_url or OFFICIAL, "base_url")
    http = client(route, timeout, connections)
    told = openai.OpenAI(api_key=key, base_url=route.address.url, http_client=http)
    named = {name: value for name, value in told.default_headers.items() if isinstance(value, str)}
    headers = {name: value for name, value in named.items() if not name.startswith("X-Stainless")} | told.auth_headers
    return Endpoint(http, route, httpx2.Headers(headers), model, temperature, question)


def chat(endpoint: Endpoint, encoded: Sequence[str], abilities: Abilities, most: int, key: str) -> list[Answer]:
    """One question about a text or an image, of which the answer may take `most` tokens."""
    (one,) = encoded
    content: Any = one
    if one.startswith(PNG):
        content = [{"type": "text", "text": endpoint.question}, {"type": "image_url", "image_url": {"url": one}}]
    body = {"messages": [{"role": "user", "content": content}], abilities.limit: most}
    if abilities.logprobs:
        body |= {"logprobs": True, "top_logprobs": abilities.logprobs}
    answer = _posted(endpoint, "/chat/completions", body | {"temperature": endpoint.temperature}, key)
    (choice,), (read, written) = answer["choices"], _counted(answer)
    text = None if choice["finish_reason"] == FILTERED else choice["message"]["content"] or ""
    told = (choice.get("logprobs") or {}).get("content")
    top = {token["token"]: token["logprob"] for token in told[0]["top_logprobs"]} if told else None
    return [Answer(text, top, read + written, written)]


def completions(endpoint: Endpoint, encoded: Sequence[str], abilities: Abilities, most: int, key: str) -> list[Answer]:
    """Texts to be gone on with, each by `most` tokens at most."""
    body = {"prompt": list(encoded), "max_tokens": most, "temperature": endpoint.temperature}
    if abilities.logprobs:
        body["logprobs"] = abilities.logprobs
    answer = _posted(endpoint, "/completions", body, key)
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    read, written = (shared(count, len(encoded)) for count in _counted(answer))
    answers = []
    for choice, r, w in zip(choices, read, written, strict=True):
        text = None if choice["finish_reason"] == FILTERED else choice["text"]
        tops = (choice.get("logprobs") or {}).get("top_logprobs")
        answers.append(Answer(text, tops[0] if tops else None, r + w, w))
    return answers


def embeddings(endpoint: Endpoint, encoded: Sequence[str], key: str) -> list[Reply]:
    """Vectors of texts."""
    answer = _posted(endpoint, "/embeddings", {"input": list(encoded), "encoding_format": "float"}, key)
    rows = sorted(answer["data"], key=lambda row: row["index"])
    read = shared(_counted(answer)[0], len(encoded))
    return [Reply(np.array(row["embedding"], np.float32), n) for row, n in zip(rows, read, strict=True)]


def understood(ask: Callable[[], T]) -> T:
    """What `ask` makes of an answer, if it has the shape that it should have."""
    try:
        return ask()
    except BackendError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as e:
        raise Lost(f"an answer of another shape: {type(e).__name__}") from e


def _posted(endpoint: Endpoint, path: str, body: Mapping[str, Any], key: str) -> Any:
    """The JSON that comes back."""
    headers, content = endpoint.headers.copy(), json.dumps({"model": endpoint.model, **body}).encode()
    headers["Idempotency-Key"] = key
    try:
        response = endpoint.http.post(_url(endpoint.route.address.url, path), headers=headers, content=content)
    except (httpx2.HTTPError, TooLong) as e:
        raise endpoint.route.outcome(e) from e
    if not response.is_success:
        raise _failure(response)
    return parsed(response.content)


@lru_cache
def _url(base: str, path: str) -> httpx2.URL:
    return httpx2.URL(below(base, path))


def _failure(response: httpx2.Response) -> Exception:
    """What an answer means that is none, as `Service.send` has it."""
    status, (words, code) = response.status_code, _said(response)
    if status == 429 and code in SPENT:
        return BackendError(f"the service refuses: {words}")
    if passing := mended_by_waiting(status, response.headers.get("retry-after", "")):
        return passing
    if 300 <= status < 400:
        return BackendError(
            f"the service has moved (HTTP {status}) to {quoted(response.headers.get('location', 'elsewhere'))}; say so "
            "in base_url"
        )
    hint = "; check the key (-o backend.key_variable=NAME or -o backend.key_file=PATH)"
    error = Refused if status in (400, 422) else BackendError
    return error(f"the service refuses (HTTP {status}): {words}{hint if status in (401, 403) else ''}")


def _counted(answer: Any) -> tuple[int, int]:
    """Tokens read and written, where the service counts them."""
    usage = answer.get("usage") or {}
    return usage.get("prompt_tokens", 0), usage.get("completion_tokens") or 0


def _said(response: httpx2.Response) -> tuple[str, str | None]:
    """The service's own words, in a line, without the key, which some services repeat in full or in part; its code."""
    try:
        error = parsed(response.content)["error"]
        words, code = str(error["message"]).split(), error.get("code")
    except (ValueError, TypeError, LookupError, AttributeError):
        words, code = response.reason_phrase.split(), None
    key = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    hidden = [mark for mark in (key, "sk-", "**") if mark]
    shown = " ".join(word for word in words if not any(mark in word for mark in hidden))
    return quoted(shown).rstrip("."), code
