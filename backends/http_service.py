"""A client of the HTTP endpoint that an endpoint file describes."""

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
from fedbbpt.web.credentials import tenant_hash
from fedbbpt.web.http_errors import http_error
from fedbbpt.web.requests_adapter import configure_session, timeouts
from fedbbpt.web.response_limits import ResponseTooLarge
from fedbbpt.web.route import Route
from fedbbpt.web.urls import redact_url
from fedbbpt_backends.http_endpoint import EndpointConfig, ImageFormat, fill_body
from fedbbpt_backends.http_utils import CHAT_OVERHEAD, PNG, base64_png, split_evenly
from fedbbpt_backends.json_paths import finder

MAX_ERROR_BYTES = 2**16  # read from a response that is an error
RANGES = {"probabilities": (0.0, 1.0), "log-probabilities": (-np.inf, 0.0)}  # of scores, by kind
ROUNDING = 1e-3
NOT_CACHED = 504  # the status of requests_cache for a response that is not cached, with only_if_cached
Find = Callable[[Any], Any]


class CacheOptions(NamedTuple):
    """Options of `requests_cache.CachedSession`."""

    expire_after: float = -1  # seconds; -1: never
    only_if_cached: bool = False


NEVER_EXPIRE = CacheOptions()


class JsonService:
    """See `Service`. `classes` gives the order of the scores; it is empty for embeddings.

    The key is sent to the configured URL only.

    Raises:
        ConfigError: the key is missing, a path is not a JMESPath, or the URL cannot be used.
    """

    def __init__(
        self, config: EndpointConfig, classes: Sequence[str], concurrency: int, caching: CacheOptions = NEVER_EXPIRE
    ) -> None:
        self._config, self._classes = config, tuple(classes)
        self.width = config.dimensions or len(classes)
        self.max_inputs_per_request = config.max_inputs_per_request
        self._key = config.auth.key() if config.auth else None
        self.identity = {
            "backend": "http-json",
            "name": config.url,
            "tenant": tenant_hash(self._key),
            "classes": list(classes),
            **config.model_dump(include={"method", "body", "scores", "classes_path", "headers"}),
        }
        self._find_scores = finder(config.scores)
        self._find_names = finder(config.classes_path) if config.classes_path else None
        self._find_tokens = finder(config.tokens_path) if config.tokens_path else None
        self._cache = HttpCache(default_cache, config.url, tenant_hash(self._key), self._key, config.headers)
        self.session = CachedSession(
            backend=self._cache,
            allowable_methods=(config.method,),
            allowable_codes=range(200, 300),
            **caching._asdict(),
        )
        self.session.headers.update(config.headers)
        self.session.auth = self._sign
        self._route = Route(config.url, "url")
        configure_session(self.session, self._route, concurrency)
        self._prepared = self.session.prepare_request(requests.Request(config.method, config.url))

    def encode(self, one: Any) -> str:
        """See `Service`; an image becomes an 8-bit PNG of the configured size.

        Raises:
            ConfigError: the endpoint reads images and the task holds texts, or vice versa.
        """
        image_format = self._config.image
        if isinstance(one, str) != (image_format is None):
            holds = "texts" if isinstance(one, str) else "images"
            raise ConfigError(
                f"the endpoint reads {self._config.modality}s, and the task holds {holds}; name the file of another "
                "endpoint with -o backend.endpoint_file=FILE"
            )
        return str(one) if image_format is None else _encoded(one, image_format)

    def estimate_tokens(self, encoded: str) -> TokenEstimate:
        """Input tokens: about one for four characters, at most one per byte. Output tokens: none."""
        return TokenEstimate(-(-len(encoded) // 4), 0, len(encoded.encode()) + CHAT_OVERHEAD)

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`. Scores that are null or infinite become NaN; a cached response with NaN is requested again."""
        cached, answers = self._request_answers(encoded, key, refresh=False)
        if cached and (not answers or any(np.isnan(answer.scores).any() for answer in answers)):
            _, answers = self._request_answers(encoded, key, refresh=True)
        return answers

    def _request_answers(self, encoded: Sequence[str], key: str, refresh: bool) -> tuple[bool, list[ServiceAnswer]]:
        """Whether the response was cached, and its answers; none if it was cached and cannot be parsed."""
        response = self._request_response(encoded, key, refresh)
        source = self._cache.claim(response)
        try:
            return source.from_cache, [
                reply._replace(response=source) for reply in self._parse(response.content, len(encoded))
            ]
        except (RequestFailed, InvalidResponse):
            if source.from_cache:
                return True, []
            raise

    def _parse(self, content: bytes, count: int) -> list[ServiceAnswer]:
        try:
            return self._answers(content, count)
        except RequestFailed as e:
            raise RequestFailed(f"{e} (it says: {self._excerpt(content)})") from e

    def _answers(self, content: bytes, count: int) -> list[ServiceAnswer]:
        try:
            answer = parse(content)
        except ValueError as e:
            raise RequestFailed(f"{self._config.url} answered with malformed JSON") from e
        rows = self._for_each(self._find_scores, self._config.scores, answer, count)
        if self._find_names:
            names = self._for_each(self._find_names, str(self._config.classes_path), answer, count)
            rows = [self._in_class_order(row, named) for row, named in zip(rows, names, strict=True)]
        tokens = split_evenly(token_count(self._find_tokens(answer) if self._find_tokens else None), count)
        return [ServiceAnswer(self._scores(row), read) for row, read in zip(rows, tokens, strict=True)]

    def _request_response(self, encoded: Sequence[str], key: str, refresh: bool) -> requests.Response:
        about = self._config
        try:
            request = self._prepared.copy()
            request.headers["Idempotency-Key"] = key
            request.prepare_body(None, None, fill_body(about.body, encoded))
            response = self.session.send(
                request, timeout=timeouts(about.timeout), allow_redirects=False, force_refresh=refresh
            )
        except (requests.RequestException, ResponseTooLarge) as e:
            raise self._route.request_error(e) from None
        if response.status_code == NOT_CACHED and response.from_cache:
            raise BackendError(
                f"the cache lacks a response of {about.url}; leave out -o backend.only_if_cached to request it"
            )
        if not 200 <= response.status_code < 300:
            raise self._error(response)
        return response

    def _for_each(self, find: Find, path: str, answer: Any, count: int) -> list[Any]:
        """What a path finds for each input; a single input may lack the outer list."""
        found = find(answer)
        if not isinstance(found, list):
            raise RequestFailed(f"{self._config.url} answered without a list at {path}")
        if count == 1 < len(found) and not any(isinstance(one, list) for one in found):
            found = [found]
        if len(found) != count:
            raise RequestFailed(f"{self._config.url} answered about {len(found)} inputs at {path}, asked about {count}")
        return found

    def _in_class_order(self, row: Any, names: Any) -> list[Any] | None:
        """The scores of an input in the order of our classes; None if scores or names are missing."""
        if not (isinstance(row, list) and isinstance(names, list)):
            return None
        own = excerpt(", ".join(map(str, names)))
        scores = dict(zip(map(str, names), row, strict=False))
        if not len(scores) == len(names) == len(row):
            raise InvalidResponse(
                f"{self._config.url} answered with {len(row)} scores for {len(names)} classes ({own}), not "
                "one for each: correct scores or classes_path"
            )
        if missing := [name for name in self._classes if name not in scores]:
            raise InvalidResponse(
                f"{self._config.url} scores {len(scores)} classes ({own}) and not {missing[0]!r}; name some of "
                "its own in classes"
            )
        return [scores[name] for name in self._classes]

    def _scores(self, row: Any) -> Float32:
        if row is None:
            return np.full(self.width, np.nan, np.float32)
        try:
            with np.errstate(over="ignore"):  # infinities are handled below
                scores = np.array(row, np.float32)
        except (TypeError, ValueError, OverflowError) as e:
            raise RequestFailed(f"{self._config.url} answered without numbers at {self._config.scores}") from e
        if scores.shape != (self.width,):
            raise InvalidResponse(
                f"{self._config.url} answered with scores {scores.shape} for an input, and the endpoint file says "
                f"({self.width},): correct scores, classes or dimensions there"
            )
        least, most = RANGES.get(self._config.kind, (-np.inf, np.inf))
        finite = scores[np.isfinite(scores)]
        if (wrong := finite[(finite < least - ROUNDING) | (finite > most + ROUNDING)]).size:
            raise InvalidResponse(
                f"{self._config.url} answered with {wrong[0]:g}, and the endpoint file says "
                f"{self._config.kind}: correct kind there"
            )
        endless = np.isposinf(scores) | (np.isneginf(scores) & (self._config.kind != "log-probabilities"))
        nothing = self._config.kind == "probabilities" and not scores.any()  # probabilities add up to 1
        return np.where(endless | nothing, np.float32(np.nan), scores)

    def _error(self, response: requests.Response) -> Exception:
        auth, status = self._config.auth, response.status_code
        if status in (401, 403):
            advice = f"check the key in {auth.variable}" if auth else "name the variable that holds a key in auth"
        elif 300 <= status < 400:
            moved = excerpt(self._public(redact_url(response.headers.get("Location", "elsewhere"))))
            advice = f"it has moved to {moved}, say so in url"
        else:
            advice = "check url and method" if status in (404, 405) else "check body"
        said = self._excerpt(response.content)
        sentence = f"{self._config.url} answered with HTTP {status}, {advice} (it says: {said})"
        return http_error(status, response.headers, f"HTTP {status}: {said}", sentence, said)

    def _excerpt(self, content: bytes) -> str:
        return excerpt(self._public(content[:MAX_ERROR_BYTES].decode("utf-8", "replace"))) or "nothing"

    def _public(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        auth = self._config.auth
        if auth and self._key:
            request.headers[auth.header] = auth.prefix + self._key
        return request


def _encoded(image: Float32, image_format: ImageFormat) -> str:
    """An image (3, h, w) in [0, 1], resized and encoded as the endpoint expects."""
    size = (image_format.height, image_format.width)
    encoded = base64_png(image if image.shape[1:] == size else _resized(image, size))
    return PNG + encoded if image_format.encoding == "data-uri" else encoded


def _resized(image: Float32, size: tuple[int, int]) -> Floats:
    rows, columns = ((average if n < m else bilinear)(m, n) for m, n in zip(image.shape[1:], size, strict=True))
    return rows @ image @ columns.T
