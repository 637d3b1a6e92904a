"""One request to the OpenAI API or one of its likenesses: what is sent, what comes back, what its errors mean."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import httpx2
import numpy as np
import openai

from fedbbpt.errors import BackendError
from fedbbpt.remote import Busy, Lost, Reply
from fedbbpt_backends.wire import PNG, seconds_of, shared

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

    client: openai.OpenAI
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


def connect(key: str, base_url: str | None, timeout: float, connections: int) -> openai.OpenAI:
    """A client that keeps its connections, and repeats nothing by itself: `Desk` does that, and counts."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    transport = httpx2.HTTPTransport(limits=limits)
    return openai.OpenAI(
        api_key=key,
        base_url=base_url or OFFICIAL,
        timeout=timeout,
        max_retries=0,
        http_client=httpx2.Client(transport=transport, timeout=timeout),
    )


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


def _posted(endpoint: Endpoint, path: str, body: Mapping[str, Any], key: str) -> Any:
    """The JSON that comes back. The client's own methods do the same, and take twice as long over their types."""
    response = endpoint.client.post(
        path,
        body={"model": endpoint.model, **body},
        cast_to=httpx2.Response,
        options={"headers": {"Idempotency-Key": key}},
    )
    return response.json()


def translated(ask: Callable[[], T]) -> T:
    """What `ask` returns, with the client's errors as `Service.send` has them."""
    try:
        return ask()
    except openai.RateLimitError as e:
        if e.code in SPENT:
            raise BackendError(f"the service refuses: {_said(e)}") from None
        raise Busy(seconds_of(e.response.headers.get("retry-after", ""))) from e
    except openai.APIStatusError as e:
        if e.status_code == 503:
            raise Busy(seconds_of(e.response.headers.get("retry-after", ""))) from e
        if e.status_code in (408, 409) or e.status_code >= 500:
            raise Lost(f"HTTP {e.status_code}") from e
        hint = "; check the key (-o backend.key_variable=NAME or -o backend.key_file=PATH)"
        error = Refused if e.status_code in (400, 422) else BackendError
        raise error(
            f"the service refuses (HTTP {e.status_code}): {_said(e)}{hint if e.status_code in (401, 403) else ''}"
        ) from None
    except openai.APIError as e:  # no connection, no answer in time, an answer that is no JSON
        raise Lost(type(e).__name__) from e
    except (ValueError, TypeError, LookupError, AttributeError) as e:  # JSON of another shape
        raise Lost(f"an answer of another shape: {type(e).__name__}") from e


def _counted(answer: Any) -> tuple[int, int]:
    """Tokens read and written, where the service counts them."""
    usage = answer.get("usage") or {}
    return usage.get("prompt_tokens", 0), usage.get("completion_tokens") or 0


def _said(error: openai.APIStatusError) -> str:
    """The service's own words, in a line, without the key, which some services repeat in full or in part."""
    body = error.body if isinstance(error.body, dict) else {}
    words = str(body.get("message") or error.response.reason_phrase).split()
    key = error.request.headers.get("authorization", "").removeprefix("Bearer ")
    hidden = [mark for mark in (key, "sk-", "**") if mark]
    return " ".join(word for word in words if not any(mark in word for mark in hidden))[:200].rstrip(".")
