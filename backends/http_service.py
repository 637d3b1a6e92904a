"""An endpoint that a file describes, asked over HTTP."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import requests
from requests_cache import CachedSession

from fedbbpt.data.resize import average, bilinear
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.json_text import parse
from fedbbpt.printing import excerpt
from fedbbpt.services import InvalidResponse, RequestFailed, ServiceAnswer, TokenEstimate, token_count
from fedbbpt.services.client import default_cache
from fedbbpt.services.http_cache import HttpCache
from fedbbpt.types import Float32, Floats
from fedbbpt.web.credentials import tenant
from fedbbpt.web.policy import mended_by_waiting
from fedbbpt.web.requests_adapter import follow, timeouts
from fedbbpt.web.response_limits import TooLong
from fedbbpt.web.route import Route
from fedbbpt.web.urls import public
from fedbbpt_backends.http_endpoint import Description, Picture, fill
from fedbbpt_backends.http_utils import CHAT_OVERHEAD, PNG, base64_png, refusal, split_evenly
from fedbbpt_backends.json_paths import finder

MOST_READ = 2**16  # bytes of a refusal
RANGES = {"probabilities": (0.0, 1.0), "log-probabilities": (-np.inf, 0.0)}  # of scores, by kind
ROUNDING = 1e-3
NOT_KNOWN = 504  # what the cache says in place of asking
Find = Callable[[Any], Any]


class Memory(NamedTuple):
    """What is asked again, as `requests_cache` has it."""

    expire_after: float = -1  # seconds; -1: never
    only_if_cached: bool = False


FOR_EVER = Memory()


class JsonService:
    """See `Service`. `classes` is the order in which scores are wanted; none for embeddings.

    The key goes to the described address alone.

    Raises:
        ConfigError: there is no key, or a path of the description is none, or the address cannot be asked.
    """

    def __init__(
        self, description: Description, classes: Sequence[str], concurrency: int, memory: Memory = FOR_EVER
    ) -> None:
        self._description, self._classes = description, tuple(classes)
        self.width = description.dimensions or len(classes)
        self.max_inputs_per_request = description.max_inputs_per_request
        self._key = description.auth.key() if description.auth else None
        self.identity = {
            "backend": "http-json",
            "name": description.url,
            "tenant": tenant(self._key),
            "classes": list(classes),
            **description.model_dump(include={"method", "body", "scores", "classes_path", "headers"}),
        }
        self._find_scores = finder(description.scores)
        self._find_names = finder(description.classes_path) if description.classes_path else None
        self._find_tokens = finder(description.tokens_path) if description.tokens_path else None
        self._cache = HttpCache(default_cache, description.url, tenant(self._key), self._key, description.headers)
        self.session = CachedSession(
            backend=self._cache,
            allowable_methods=(description.method,),
            allowable_codes=range(200, 300),
            **memory._asdict(),
        )
        self.session.headers.update(description.headers)
        self.session.auth = self._sign
        self._route = Route(description.url, "url")
        follow(self.session, self._route, concurrency)
        self._request = self.session.prepare_request(requests.Request(description.method, description.url))

    def encode(self, one: Any) -> str:
        """See `Service`; an image as 8 bits, rounded half to even, in the described size.

        Raises:
            ConfigError: a text where the endpoint reads images, or the other way round.
        """
        picture = self._description.image
        if isinstance(one, str) != (picture is None):
            holds = "texts" if isinstance(one, str) else "images"
            raise ConfigError(
                f"the endpoint is described as one for {self._description.modality}s, and the task holds {holds}; give "
                "another with -o backend.endpoint_file=FILE"
            )
        return str(one) if picture is None else _encoded(one, picture)

    def estimate_tokens(self, encoded: str) -> TokenEstimate:
        """Four characters are about a token, and none is less than a byte; nothing is written."""
        return TokenEstimate(-(-len(encoded) // 4), 0, len(encoded.encode()) + CHAT_OVERHEAD)

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`. Scores that are null or infinite are NaN; a known response with some is asked for anew."""
        known, replies = self._asked(encoded, key, anew=False)
        if known and (not replies or any(np.isnan(reply.scores).any() for reply in replies)):
            _, replies = self._asked(encoded, key, anew=True)
        return replies

    def _asked(self, encoded: Sequence[str], key: str, anew: bool) -> tuple[bool, list[ServiceAnswer]]:
        """Whether the response was known, and the replies in it; none in one that was known and cannot be read."""
        response = self._ask(encoded, key, anew)
        source = self._cache.claim(response)
        try:
            return source.from_cache, [
                reply._replace(response=source) for reply in self._read(response.content, len(encoded))
            ]
        except (RequestFailed, InvalidResponse):
            if source.from_cache:
                return True, []
            raise

    def _read(self, content: bytes, count: int) -> list[ServiceAnswer]:
        try:
            return self._replies(content, count)
        except RequestFailed as e:
            raise RequestFailed(f"{e} (it says: {self._quoted(content)})") from e

    def _replies(self, content: bytes, count: int) -> list[ServiceAnswer]:
        try:
            answer = parse(content)
        except ValueError as e:
            raise RequestFailed(f"{self._description.url} answered with malformed JSON") from e
        rows = self._for_each(self._find_scores, self._description.scores, answer, count)
        if self._find_names:
            names = self._for_each(self._find_names, str(self._description.classes_path), answer, count)
            rows = [self._ordered(row, named) for row, named in zip(rows, names, strict=True)]
        tokens = split_evenly(token_count(self._find_tokens(answer) if self._find_tokens else None), count)
        return [ServiceAnswer(self._numbers(row), read) for row, read in zip(rows, tokens, strict=True)]

    def _ask(self, encoded: Sequence[str], key: str, anew: bool) -> requests.Response:
        about = self._description
        try:
            request = self._request.copy()
            request.headers["Idempotency-Key"] = key
            request.prepare_body(None, None, fill(about.body, encoded))
            response = self.session.send(
                request, timeout=timeouts(about.timeout), allow_redirects=False, force_refresh=anew
            )
        except (requests.RequestException, TooLong) as e:
            raise self._route.outcome(e) from None
        if response.status_code == NOT_KNOWN and response.from_cache:
            raise BackendError(
                f"not all that is asked of {about.url} is known; leave out -o backend.only_if_cached to ask it"
            )
        said = self._quoted(response.content)
        if passing := mended_by_waiting(response.status_code, response.headers.get("Retry-After", ""), said):
            raise passing
        if not 200 <= response.status_code < 300:
            raise self._refusal(response)
        return response

    def _for_each(self, find: Find, path: str, answer: Any, count: int) -> list[Any]:
        """What a path finds for each input; for the only one also where it stands in no list of its own."""
        found = find(answer)
        if not isinstance(found, list):
            raise RequestFailed(f"{self._description.url} answered with nothing at {path}")
        if count == 1 < len(found) and not any(isinstance(one, list) for one in found):
            found = [found]
        if len(found) != count:
            raise RequestFailed(
                f"{self._description.url} answered about {len(found)} inputs at {path}, asked about {count}"
            )
        return found

    def _ordered(self, row: Any, names: Any) -> list[Any] | None:
        """The scores of an input in our order; None where it has none, or they have no names."""
        if not (isinstance(row, list) and isinstance(names, list)):
            return None
        own = excerpt(", ".join(map(str, names)))
        scores = dict(zip(map(str, names), row, strict=False))
        if not len(scores) == len(names) == len(row):
            raise InvalidResponse(
                f"{self._description.url} answered with {len(row)} scores for {len(names)} classes ({own}), each of "
                "which should have one: correct scores or classes_path"
            )
        if missing := [name for name in self._classes if name not in scores]:
            raise InvalidResponse(
                f"{self._description.url} scores {len(scores)} classes ({own}) and not {missing[0]!r}; name some of "
                "its own in classes"
            )
        return [scores[name] for name in self._classes]

    def _numbers(self, row: Any) -> Float32:
        if row is None:
            return np.full(self.width, np.nan, np.float32)
        try:
            with np.errstate(over="ignore"):  # infinity is looked for below
                scores = np.array(row, np.float32)
        except (TypeError, ValueError, OverflowError) as e:
            raise RequestFailed(
                f"{self._description.url} answered with no numbers at {self._description.scores}"
            ) from e
        if scores.shape != (self.width,):
            raise InvalidResponse(
                f"{self._description.url} answered with scores {scores.shape} for an input, and its description says "
                f"({self.width},): correct scores, classes or dimensions there"
            )
        least, most = RANGES.get(self._description.kind, (-np.inf, np.inf))
        finite = scores[np.isfinite(scores)]
        if (wrong := finite[(finite < least - ROUNDING) | (finite > most + ROUNDING)]).size:
            raise InvalidResponse(
                f"{self._description.url} answered with {wrong[0]:g}, and its description says "
                f"{self._description.kind}: correct kind there"
            )
        endless = np.isposinf(scores) | (np.isneginf(scores) & (self._description.kind != "log-probabilities"))
        nothing = self._description.kind == "probabilities" and not scores.any()  # they add up to 1
        return np.where(endless | nothing, np.float32(np.nan), scores)

    def _refusal(self, response: requests.Response) -> BackendError:
        auth, status = self._description.auth, response.status_code
        if status in (401, 403):
            advice = f"check the key in {auth.variable}" if auth else "name the variable that holds a key in auth"
        elif 300 <= status < 400:
            moved = excerpt(self._public(public(response.headers.get("Location", "elsewhere"))))
            advice = f"it has moved to {moved}, say so in url"
        else:
            advice = "check url and method" if status in (404, 405) else "check body"
        said = self._quoted(response.content)
        sentence = f"{self._description.url} answered with HTTP {status}, {advice} (it says: {said})"
        return refusal(status, sentence, said)

    def _quoted(self, content: bytes) -> str:
        return excerpt(self._public(content[:MOST_READ].decode("utf-8", "replace"))) or "nothing"

    def _public(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        auth = self._description.auth
        if auth and self._key:
            request.headers[auth.header] = auth.prefix + self._key
        return request


def _encoded(image: Float32, picture: Picture) -> str:
    """An image (3, h, w) in [0, 1] as the endpoint wants it."""
    size = (picture.height, picture.width)
    encoded = base64_png(image if image.shape[1:] == size else _resized(image, size))
    return PNG + encoded if picture.encoding == "data-uri" else encoded


def _resized(image: Float32, size: tuple[int, int]) -> Floats:
    rows, columns = ((average if n < m else bilinear)(m, n) for m, n in zip(image.shape[1:], size, strict=True))
    return rows @ image @ columns.T
