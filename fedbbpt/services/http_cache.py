"""Stored responses as a cache of `requests_cache`, so that its session and tools work on them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict
from requests_cache.backends.base import BaseCache, BaseStorage
from requests_cache.models.request import CachedRequest
from requests_cache.models.response import CachedResponse

from fedbbpt.services import StoredResponse
from fedbbpt.services.answer_cache import AnswerCache

HIDDEN = b"..."  # replaces the key, where a service repeats it
STORED_HEADERS = ("Content-Type", "Date")  # others may hold secrets
COLUMNS = ", ".join(StoredResponse._fields[:-1])


class HttpCache(BaseCache):
    """The responses of one service to one tenant's key; what is deleted here is asked for, and paid, again.

    A new response is not written at once: it waits until `claim` hands it over, to be committed together with the
    answers that are read from it and with what they cost. Neither inputs nor headers that could hold a secret are
    stored.
    """

    def __init__(
        self,
        cache: Callable[[], AnswerCache],
        service: str,
        tenant: str,
        secret: str | None,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(service)
        self.responses: _Responses = _Responses(cache, service, tenant)
        self._tenant, self._secret = tenant, (secret or "").encode()
        self._public = json.dumps([tenant, sorted(headers.items())]).encode()
        self._pending: dict[str, StoredResponse] = {}

    def create_key(self, request: Any, match_headers: Any = None, **named: Any) -> str:
        """Hashes a request's method, URL, tenant, public headers and body."""
        prepared = request.prepare() if isinstance(request, requests.Request) else request
        parts: list[Any] = [prepared.method, prepared.url, self._public, prepared.body or b""]
        encoded = [part.encode() if isinstance(part, str) else part for part in parts]
        return hashlib.blake2b(b"\0".join(encoded), digest_size=20).hexdigest()

    def get_response(self, key: str, default: CachedResponse | None = None) -> CachedResponse | None:
        """See `BaseCache`; redirects are not followed, so none are looked up."""
        return self.responses.get(key, default)

    def save_response(
        self, response: requests.Response, cache_key: str | None = None, expires: datetime | None = None
    ) -> None:
        """See `BaseCache`; the response waits for `claim`."""
        key = cache_key or self.create_key(response.request)
        content = response.content.replace(self._secret, HIDDEN) if self._secret else response.content
        headers = {name: response.headers[name] for name in STORED_HEADERS if name in response.headers}
        self._pending[key] = StoredResponse(
            key=key,
            service=str(self.cache_name),
            tenant=self._tenant,
            method=str(response.request.method),
            url=response.url,
            status=response.status_code,
            headers=json.dumps(headers),
            content=content,
            at=datetime.now(UTC).timestamp(),
            expires=expires.timestamp() if expires else None,
        )

    def claim(self, response: requests.Response) -> StoredResponse:
        """A response of the session as it is to be stored; `from_cache` if it is stored already."""
        key = str(getattr(response, "cache_key", None))
        if key in self._pending:
            return self._pending.pop(key)
        return self.responses.stored(key)._replace(from_cache=True)

    def recreate_keys(self) -> None:
        """Refuses: keys cannot be computed without the inputs, which are not stored."""
        raise NotImplementedError("keys cannot be recreated, since the inputs are not stored")


class _Responses(BaseStorage[str, CachedResponse]):
    """The rows of one service and tenant in the table `responses`."""

    def __init__(self, cache: Callable[[], AnswerCache], service: str, tenant: str) -> None:
        super().__init__()
        self._open, self._owner = cache, (service, tenant)

    @cached_property
    def _cache(self) -> AnswerCache:
        return self._open()

    def stored(self, key: str) -> StoredResponse:
        """One row; KeyError if there is none."""
        rows = self._rows(f"SELECT {COLUMNS}", "AND key = ?", key)
        if not rows:
            raise KeyError(key)
        return StoredResponse(*rows[0])

    def __getitem__(self, key: str) -> CachedResponse:
        one = self.stored(key)
        response = CachedResponse(
            content=one.content,
            status_code=one.status,
            url=one.url,
            headers=CaseInsensitiveDict(json.loads(one.headers)),
            request=CachedRequest(method=one.method, url=one.url),
            created_at=datetime.fromtimestamp(one.at, UTC),
            expires=None if one.expires is None else datetime.fromtimestamp(one.expires, UTC),
        )
        response.cache_key = key
        return response

    def __setitem__(self, key: str, value: CachedResponse) -> None:
        """Changes when a stored response expires; new responses are written through `HttpCache.claim` alone."""
        one = self.stored(key)
        with self._cache.transaction() as transaction:
            transaction.replace_response(one._replace(expires=value.expires.timestamp() if value.expires else None))

    def __delitem__(self, key: str) -> None:
        with self._cache.transaction() as transaction:
            if not transaction.delete_responses([key], *self._owner):
                raise KeyError(key)

    def bulk_delete(self, keys: Iterable[str]) -> None:
        """Deletes responses in one transaction; missing keys do not matter."""
        with self._cache.transaction() as transaction:
            transaction.delete_responses(keys, *self._owner)

    def clear(self) -> None:
        """Deletes all responses."""
        self.bulk_delete(list(self))

    def __iter__(self) -> Iterator[str]:
        return iter([row[0] for row in self._rows("SELECT key", "ORDER BY at, key")])

    def __len__(self) -> int:
        return int(self._rows("SELECT COUNT(*)")[0][0])

    def _rows(self, select: str, rest: str = "", *values: object) -> list[Any]:
        query = f"{select} FROM responses WHERE service = ? AND tenant = ? {rest}"
        with self._cache.reading() as connection:
            return connection.execute(query, (*self._owner, *values)).fetchall()
