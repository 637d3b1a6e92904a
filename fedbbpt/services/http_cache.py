"""Responses of services in the store of answers, as a cache of `requests_cache`, whose session and tools work on it."""

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

from fedbbpt.services import Exchange
from fedbbpt.services.answer_cache import Store

HIDDEN = b"..."  # what stands for the key, where a service repeats it
KEPT = ("Content-Type", "Date")  # headers of a response; others may hold secrets
COLUMNS = ", ".join(Exchange._fields[:-1])


class HttpCache(BaseCache):
    """The responses of one service, of one tenant's key; what is deleted here is asked, and paid, again.

    A response that the session brings is not written by itself: it waits, for `taken`, to be committed together with
    what is read from it and what it cost. Inputs are not kept, nor any header that could hold a secret.
    """

    def __init__(
        self, store: Callable[[], Store], service: str, tenant: str, secret: str | None, headers: Mapping[str, str]
    ) -> None:
        super().__init__(service)
        self.responses: _Responses = _Responses(store, service, tenant)
        self._tenant, self._secret = tenant, (secret or "").encode()
        self._public = json.dumps([tenant, sorted(headers.items())]).encode()
        self._brought: dict[str, Exchange] = {}

    def create_key(self, request: Any, match_headers: Any = None, **named: Any) -> str:
        """What a request is called: by its method, address, tenant, public headers and body."""
        prepared = request.prepare() if isinstance(request, requests.Request) else request
        parts: list[Any] = [prepared.method, prepared.url, self._public, prepared.body or b""]
        encoded = [part.encode() if isinstance(part, str) else part for part in parts]
        return hashlib.blake2b(b"\0".join(encoded), digest_size=20).hexdigest()

    def get_response(self, key: str, default: CachedResponse | None = None) -> CachedResponse | None:
        """See `BaseCache`; there are no redirects."""
        return self.responses.get(key, default)

    def save_response(
        self, response: requests.Response, cache_key: str | None = None, expires: datetime | None = None
    ) -> None:
        """See `BaseCache`; it is written together with what it cost."""
        key = cache_key or self.create_key(response.request)
        content = response.content.replace(self._secret, HIDDEN) if self._secret else response.content
        headers = {name: response.headers[name] for name in KEPT if name in response.headers}
        method, now = str(response.request.method), datetime.now(UTC).timestamp()
        told = (response.url, response.status_code, json.dumps(headers), content)
        self._brought[key] = Exchange(
            key, str(self.cache_name), self._tenant, method, *told, now, expires.timestamp() if expires else None
        )

    def taken(self, response: requests.Response) -> Exchange:
        """A response of the session, to be kept; one that was known is `known`."""
        key = str(getattr(response, "cache_key", None))
        if key in self._brought:
            return self._brought.pop(key)
        return self.responses.exchange(key)._replace(known=True)

    def recreate_keys(self) -> None:
        """Refuses: inputs are not kept, so that no key can be made of them."""
        raise NotImplementedError("keys cannot be made again, since the inputs are not kept")


class _Responses(BaseStorage[str, CachedResponse]):
    """The rows of one service and tenant in the table `responses`."""

    def __init__(self, store: Callable[[], Store], service: str, tenant: str) -> None:
        super().__init__()
        self._open, self._whose = store, (service, tenant)

    @cached_property
    def _store(self) -> Store:
        return self._open()

    def exchange(self, key: str) -> Exchange:
        """A row; KeyError if there is none."""
        rows = self._rows(f"SELECT {COLUMNS}", "AND key = ?", key)
        if not rows:
            raise KeyError(key)
        return Exchange(*rows[0])

    def __getitem__(self, key: str) -> CachedResponse:
        one = self.exchange(key)
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
        """Another time of expiry for what is there: new responses are written together with what they cost."""
        one = self.exchange(key)
        with self._store.writing() as book:
            book.expire(one._replace(expires=value.expires.timestamp() if value.expires else None))

    def __delitem__(self, key: str) -> None:
        with self._store.writing() as book:
            if not book.forget([key], *self._whose):
                raise KeyError(key)

    def bulk_delete(self, keys: Iterable[str]) -> None:
        """Forgets some, at once; what is not there does not matter."""
        with self._store.writing() as book:
            book.forget(keys, *self._whose)

    def clear(self) -> None:
        """Forgets them all."""
        self.bulk_delete(list(self))

    def __iter__(self) -> Iterator[str]:
        return iter([row[0] for row in self._rows("SELECT key", "ORDER BY at, key")])

    def __len__(self) -> int:
        return int(self._rows("SELECT COUNT(*)")[0][0])

    def _rows(self, select: str, rest: str = "", *values: object) -> list[Any]:
        query = f"{select} FROM responses WHERE service = ? AND tenant = ? {rest}"
        with self._store.reading() as connection:
            return connection.execute(query, (*self._whose, *values)).fetchall()
