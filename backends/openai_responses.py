"""Parses responses of the OpenAI API and of servers that imitate it, in every shape found in practice."""

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedbbpt.json_text import parse
from fedbbpt.printing import excerpt
from fedbbpt.types import Float32

STREAM = re.compile(
    rb"(\xef\xbb\xbf)?\s*(data|event|id|retry)?:"
)  # the start of an event stream, which some servers send unasked
FILTERED, TRUNCATED = "content_filter", "length"  # values of finish_reason
TAGS = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")
MAX_PAGE_BYTES = 2**13  # read from a web page that came instead of JSON
ROUNDING = 1e-3  # by which a log-probability may exceed 0
NO_EMBEDDING: Float32 = np.full(1, np.nan, np.float32)


class ApiAnswer(NamedTuple):
    """The answer to one input."""

    text: str | None  # None: the service declined to answer
    top: Mapping[str, float] | None  # log-probabilities of the most likely first tokens


class ApiError(NamedTuple):
    """An error that a service reports."""

    words: str
    codes: str
    status: int | None  # the HTTP status, if the body names one


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a response body; anything after it is ignored, and an event stream is joined.

    Raises:
        ValueError: the body contains no JSON object.
    """
    answer = _joined(body) if STREAM.match(body) else parse(body, more=True)
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, dict):
        return answer
    raise ValueError("it is not an object")


def answers_of(answer: Mapping[str, Any], count: int) -> list[ApiAnswer | None]:
    """The answers to `count` inputs; None for an input without one."""
    found = _in_order(answer.get("choices"), count)
    return [None if choice is None else ApiAnswer(_text(choice), _top(choice)) for choice in found]


def embeddings_of(answer: Mapping[str, Any], count: int) -> list[Float32]:
    """The embeddings (D,) of `count` inputs, NaN if one is missing. Raises ValueError, TypeError or LookupError."""
    found = _in_order(answer.get("data"), count)
    if not any(found):
        raise ValueError(f"it holds {_parts(answer)}")
    return [NO_EMBEDDING if row is None else _vector(row["embedding"]) for row in found]


def is_error(answer: Mapping[str, Any]) -> bool:
    """Whether a response with HTTP 200 reports an error."""
    if answer.get("error") or any(one.get("error") for one in _objects(answer.get("choices"))):
        return not any(one is not None and (one.text or one.top) for one in answers_of(answer, 1))
    return not answer.keys() & {"choices", "data", "usage"}


def error_of(answer: Mapping[str, Any]) -> ApiError:
    """The error that a response reports."""
    errors = [one["error"] for one in (answer, *_objects(answer.get("choices"))) if one.get("error")]
    error = errors[0] if errors else answer
    if not isinstance(error, Mapping):
        return ApiError(str(error), "", None)
    said = [error[key] for key in ("message", "detail", "msg", "title", "type") if error.get(key)]
    words = next((one for one in said if not isinstance(one, Mapping)), f"JSON with {_parts(error)}" if error else "")
    if parts := _objects(words):  # which may repeat the input
        words = "; ".join(str(part.get("msg") or part.get("message") or "") for part in parts)
    inner = error.get("innererror")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, Mapping) else None]
    status = to_number(error.get("code") or error.get("status"))
    known = status is not None and 400 <= status < 600
    return ApiError(
        str(words), " ".join(str(code) for code in codes if code), int(status) if status and known else None
    )


def error_of_invalid(body: bytes, why: ValueError) -> ApiError:
    """The error for a body without a JSON object: the text of a web page, or why JSON cannot be parsed."""
    if body.lstrip()[:1] in (b"{", b"["):
        return ApiError(f"JSON that cannot be read: {why}", "", None)
    return ApiError(TAGS.sub(" ", body[:MAX_PAGE_BYTES].decode("utf-8", "replace")), "", None)


def to_number(value: Any) -> float | None:
    """Converts a number, or text that contains one, to a finite float; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _objects(listed: Any) -> list[dict[str, Any]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _in_order(listed: Any, count: int) -> list[dict[str, Any] | None]:
    """The objects ordered by their `index`, which some servers count from 1, or else by position.

    Raises:
        ValueError: objects are missing, and their indices do not tell which.
    """
    found = _objects(listed)
    if count == 1:
        return [found[0] if found else None]
    placed = {to_number(one.get("index")): one for one in found}
    if None not in placed and len(placed) == len(found):
        first = int(0 not in placed and count in placed)
        return [placed.get(i + first) for i in range(count)]
    if len(found) != count:
        raise ValueError(f"it answers {len(found)} of {count} inputs without saying which")
    return list(found)


def _text(choice: Mapping[str, Any]) -> str | None:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {"content": message}
    if choice.get("finish_reason") == FILTERED or message.get("refusal"):
        return None
    text = _flat(message.get("content")) or _flat(choice.get("text"))
    if (
        not text.strip() and choice.get("finish_reason") != TRUNCATED
    ):  # some servers put the answer into the field for reasoning
        text = _flat(message.get("reasoning_content")) or _flat(message.get("reasoning"))
    return text


def _flat(content: Any) -> str:
    """The text of a content: a string, a part, or a list of parts."""
    if isinstance(content, Mapping):
        return _flat(content.get("text") or content.get("value"))
    if isinstance(content, Sequence) and not isinstance(content, str):
        return "".join(map(_flat, content))
    return content if isinstance(content, str) else ""


def _top(choice: Mapping[str, Any]) -> dict[str, float] | None:
    """Log-probabilities of the first token: the most likely ones, or the one chosen; duplicates are summed."""
    top: dict[str, float] = {}
    for token, value in _listed(choice.get("logprobs")):
        log_p = to_number(value)
        if log_p is not None and log_p <= ROUNDING:
            top[token] = float(np.logaddexp(top.get(token, -math.inf), min(0.0, log_p)))
    return top or None


def _listed(reported: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(reported, Mapping):
        content, tops = reported.get("content"), reported.get("top_logprobs")
        if not content and not tops:  # only the chosen tokens
            pairs = zip(_list(reported.get("tokens")), _list(reported.get("token_logprobs")), strict=False)
            content = [{"token": token, "logprob": log_p} for token, log_p in pairs]
        reported = content or [{"top_logprobs": tops[0] if isinstance(tops, list) else tops}]
    if not _objects(reported):
        return
    first = _objects(reported)[0]
    top = first.get("top_logprobs") or [first]
    if isinstance(top, Mapping):
        yield from ((str(token), _log_p(value)) for token, value in top.items())
    else:
        yield from ((_token(one), one.get("logprob")) for one in _objects(top))


def _log_p(value: Any) -> Any:
    return value.get("logprob") if isinstance(value, Mapping) else value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _token(entry: Mapping[str, Any]) -> str:
    """The text of a token: from its bytes if given, since they contain no tokenizer symbols."""
    try:
        return bytes(_list(entry.get("bytes"))).decode() or str(entry.get("token", ""))
    except (TypeError, ValueError):
        return str(entry.get("token", ""))


def _vector(value: Any) -> Float32:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    with np.errstate(over="ignore"):
        vector = np.array(value, np.float32)
    return np.where(np.isfinite(vector), vector, np.float32(np.nan)) if vector.size else NO_EMBEDDING


def _parts(answer: Mapping[str, Any]) -> str:
    return excerpt(", ".join(map(str, answer))) or "nothing"


def _joined(body: bytes) -> dict[str, Any]:
    """Joins the events of a stream into one response; of the log-probabilities, the first are kept."""
    whole: dict[str, Any] = {}
    joined: dict[int, dict[str, Any]] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        name, _, data = line.partition(":")
        if name.strip() != "data" or data.strip() == "[DONE]":
            continue
        event = parse(data, more=True)
        if not isinstance(event, dict):
            continue
        whole |= {key: event[key] for key in ("error", "usage") if event.get(key)}
        for place, choice in enumerate(_objects(event.get("choices"))):
            index = int(to_number(choice.get("index")) or place)
            one = joined.setdefault(index, {"index": index, "message": {"content": ""}})
            piece = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            one["message"]["content"] += _flat(piece.get("content") if isinstance(piece, Mapping) else piece)
            one |= {key: choice[key] for key in ("finish_reason", "error") if choice.get(key)}
            if choice.get("logprobs"):
                one.setdefault("logprobs", choice["logprobs"])
    return whole | {"choices": list(joined.values())}
