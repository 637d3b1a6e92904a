"""Requests to the OpenAI API, or to a server that imitates it: bodies, responses, and what errors mean."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import httpx2
import openai

from fedbbpt.errors import BackendError, FedbbptError
from fedbbpt.printing import excerpt
from fedbbpt.services import RequestFailed, ServiceAnswer, token_count
from fedbbpt.web.credentials import parse_key
from fedbbpt.web.http_errors import ABOUT_INPUT, http_error, is_transient
from fedbbpt.web.httpx2_transport import make_client
from fedbbpt.web.response_limits import GZIP, ResponseTooLarge
from fedbbpt.web.route import Route
from fedbbpt.web.urls import join_path, redact_url
from fedbbpt_backends.http_utils import PNG, split_evenly
from fedbbpt_backends.openai_responses import (
    ApiAnswer,
    ApiError,
    answers_of,
    embeddings_of,
    error_of,
    error_of_invalid,
    is_error,
    parse_body,
    to_number,
)

OFFICIAL = "https://api.openai.com/v1"  # not from the environment: a run's config names its server
NO_MONEY = re.compile(r"quota|billing|credit balance|insufficient.?(balance|credit|fund)", re.IGNORECASE)
SPENT = ("insufficient_quota", "billing_hard_limit_reached")  # error codes that waiting does not fix
UNPROCESSABLE, BROKEN = 422, 500  # the status given to an error with HTTP 200: about the input, or other
CHECK_KEY = "; check the key (-o backend.key_variable=NAME or -o backend.key_file=PATH)"
HINTS = {401: CHECK_KEY, 403: CHECK_KEY, 404: "; check base_url, backend.model and backend.api"}
T = TypeVar("T")


class Capabilities(NamedTuple):
    """The request parameters that a model accepts."""

    top_logprobs: int  # log-probabilities of the next token that it returns; 0: none
    max_tokens_parameter: str  # the name of the parameter that bounds the answer's length
    temperature: float | None  # None: the service's own

    @property
    def sampled(self) -> bool:
        """Whether answers are sampled at random."""
        return self.temperature != 0

    @property
    def sent(self) -> dict[str, Any]:
        """The parameters common to all endpoints."""
        return {} if self.temperature is None else {"temperature": self.temperature}


class Endpoint(NamedTuple):
    """A server, a model, and the client for it."""

    http: httpx2.Client
    route: Route
    headers: httpx2.Headers  # includes the key, which their repr hides
    model: str
    question: str  # sent with an image


class CountedAnswer(NamedTuple):
    """The answer to one input, with its share of the tokens."""

    answer: ApiAnswer | None
    tokens: int  # input and output
    output_tokens: int


Ask = Callable[[Endpoint, Sequence[str], Capabilities, int, str], list[CountedAnswer]]


def connect(key: str, base_url: str | None, timeout: float, connections: int, model: str, question: str) -> Endpoint:
    """An endpoint with persistent connections. It does not retry: `ServiceClient` does, and counts.

    URL and headers come from OpenAI's own client. Its methods are not used: they add about half of a request's own
    time to each request.
    """
    for variable in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):  # which become headers
        if text := os.environ.get(variable):
            parse_key(text, variable, "id")
    route = Route(base_url or OFFICIAL, "base_url")
    http = make_client(route, timeout, connections)
    client = openai.OpenAI(api_key=key, base_url=route.url.url, http_client=http)
    named = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
    headers = {name: value for name, value in named.items() if not name.startswith("X-Stainless")} | client.auth_headers
    return Endpoint(http, route, httpx2.Headers({**headers, "Accept-Encoding": GZIP}), model, question)


def chat(
    endpoint: Endpoint, encoded: Sequence[str], capabilities: Capabilities, max_tokens: int, key: str
) -> list[CountedAnswer]:
    """Sends one question about a text or an image; the answer may take `max_tokens` tokens."""
    (one,) = encoded
    content: Any = one
    if one.startswith(PNG):
        content = [{"type": "text", "text": endpoint.question}, {"type": "image_url", "image_url": {"url": one}}]
    body = {
        "messages": [{"role": "user", "content": content}],
        capabilities.max_tokens_parameter: max_tokens,
        **capabilities.sent,
    }
    if capabilities.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": capabilities.top_logprobs}
    return _counted_answers(_post(endpoint, "/chat/completions", body, key), 1)


def completions(
    endpoint: Endpoint, encoded: Sequence[str], capabilities: Capabilities, max_tokens: int, key: str
) -> list[CountedAnswer]:
    """Sends texts to be continued, each by at most `max_tokens` tokens."""
    prompt = list(encoded) if len(encoded) > 1 else encoded[0]  # some servers accept no list
    body = {"prompt": prompt, capabilities.max_tokens_parameter: max_tokens, **capabilities.sent}
    if capabilities.top_logprobs:
        body["logprobs"] = capabilities.top_logprobs
    return _counted_answers(_post(endpoint, "/completions", body, key), len(encoded))


def embeddings(endpoint: Endpoint, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
    """Requests the embeddings of texts."""
    answer = _post(endpoint, "/embeddings", {"input": list(encoded)}, key)
    read = split_evenly(_token_counts(answer)[0], len(encoded))
    return [ServiceAnswer(one, n) for one, n in zip(embeddings_of(answer, len(encoded)), read, strict=True)]


def _counted_answers(answer: dict[str, Any], count: int) -> list[CountedAnswer]:
    """The answers to `count` inputs; a response without any that was charged counts as empty answers."""
    found = answers_of(answer, count)
    if not any(found):
        usage = answer.get("usage")
        charged = isinstance(usage, dict) and any(map(to_number, usage.values()))
        if not charged or not isinstance(answer.get("choices", 0), list | None):
            raise RequestFailed("an answer without choices")
        found = [ApiAnswer(None, None)] * count
    read, output = (split_evenly(total, count) for total in _token_counts(answer))
    return [CountedAnswer(one, r + w, w) for one, r, w in zip(found, read, output, strict=True)]


def parse_response(ask: Callable[[], T]) -> T:
    """Calls `ask`, which parses a response; raises RequestFailed if the response has an unexpected shape."""
    try:
        return ask()
    except FedbbptError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as e:
        raise RequestFailed(f"an answer of another shape ({excerpt(str(e))})") from e


def _post(endpoint: Endpoint, path: str, body: Mapping[str, Any], key: str) -> Any:
    """Posts a body and returns the JSON object of the response."""
    headers, content = endpoint.headers.copy(), json.dumps({"model": endpoint.model, **body}).encode()
    headers["Idempotency-Key"] = key
    request = httpx2.Request("POST", _url(endpoint.route.url.url, path), headers=headers, content=content)
    try:
        response = endpoint.http.send(request)
    except (httpx2.HTTPError, ResponseTooLarge) as e:
        raise endpoint.route.request_error(e) from e
    try:
        answer = parse_body(response.content)
    except ValueError as e:
        raise _error(response, error_of_invalid(response.content, e)) from None
    if not response.is_success or is_error(answer):
        raise _error(response, error_of(answer))
    return answer


@lru_cache
def _url(base: str, path: str) -> httpx2.URL:
    return httpx2.URL(join_path(base, path))


def _error(response: httpx2.Response, said: ApiError) -> Exception:
    """The exception for an error response (see `Service.send`)."""
    status = said.status if response.is_success else response.status_code
    reason = "no message" if response.is_success else excerpt(response.reason_phrase)
    words = _public(said.words, response) or reason
    if status is None:
        status = UNPROCESSABLE if ABOUT_INPUT.search(f"{said.codes} {words}") else BROKEN
    details = f"{said.codes} {words}"
    if any(code in said.codes for code in SPENT) or (not is_transient(status) and NO_MONEY.search(details)):
        return BackendError(f"the service refuses: {words}")
    if 300 <= status < 400:
        moved = redact_url(response.headers.get("location", "elsewhere"))
        return BackendError(f"the service has moved (HTTP {status}) to {_public(moved, response)}; say so in base_url")
    message = f"the service refuses (HTTP {status}): {words}{HINTS.get(status, '')}"
    return http_error(status, response.headers, f"HTTP {response.status_code}: {words}", message, details)


def _token_counts(answer: Any) -> tuple[int, int]:
    """Input and output tokens, see `fedbbpt.services.token_count`."""
    usage = answer.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    read, output = token_count(counts.get("prompt_tokens")), token_count(counts.get("completion_tokens"))
    beside = token_count(counts.get("total_tokens")) - read - output  # some servers omit reasoning tokens elsewhere
    return read, output + max(0, beside) if min(read, output) >= 0 else output


def _public(words: str, response: httpx2.Response) -> str:
    """The service's message on one line, without the key, which some services repeat in full or in part."""
    key = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    hidden = [mark for mark in (key, "sk-", "**") if mark]
    return excerpt(" ".join(word for word in words.split() if not any(mark in word for mark in hidden))).rstrip(".")
