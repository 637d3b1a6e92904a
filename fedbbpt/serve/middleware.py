"""Access control, limits, and one error format for all that goes wrong."""

import asyncio
import hmac
import logging
import re
import traceback
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedbbpt.serve import MIB, HttpError, RequestLimits
from fedbbpt.serve.metrics import ServerMetrics
from fedbbpt.serve.semaphore import WeightedSemaphore
from fedbbpt.web.urls import is_loopback

PUBLIC_ROUTES = {"/healthz", "/", "/docs"}  # need no token: the pages hold nothing of the model
HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:@\[\]]+))(?::[0-9]*)?", re.IGNORECASE)

MAX_BODIES_HELD = 4  # of the largest size allowed, in memory at a time
SMALL_BODY = MIB  # bytes

log = logging.getLogger("fedbbpt.serve")


class AccessMiddleware:
    """Passes on requests that have the token and name one of the routes, and counts the responses.

    Without a token, only programs on this machine are answered. A browser runs on this machine, too, but its pages may
    be anybody's: requests that it sends for a page are refused, unless the page is the service's own, and those of a
    page whose own host name was made to resolve to this machine (DNS rebinding) are recognised by their Host. Nothing
    of a request is logged, and of an error only its type and its place in the code.
    """

    def __init__(self, app: ASGIApp, routes: Collection[str], token: str | None, metrics: ServerMetrics) -> None:
        self._app, self._routes, self._metrics = app, routes, metrics
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        route = scope["path"] if scope["path"] in self._routes else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.count_response(route, message["status"])
            await send(message)

        self._metrics.in_flight.inc()
        try:
            self._check(scope["path"], Headers(scope=scope))
            await self._app(scope, receive, counted)
        except ClientDisconnect:
            pass
        except HttpError as e:
            await error_response(e)(scope, receive, counted)
        except asyncio.CancelledError:
            stopping = HttpError(503, "the service is stopping", code="stopping")
            await error_response(stopping)(scope, receive, counted)
        except Exception as e:
            log.error("%s %s: %s", scope["method"], route, _place(e))
            message = "the model or the service failed; the service's log says where"
            await error_response(HttpError(500, message, code="failed"))(scope, receive, counted)
        finally:
            self._metrics.in_flight.dec()

    def _check(self, path: str, headers: Headers) -> None:
        if self._token is None:
            if not _is_own_page(headers):
                raise HttpError(403, "this service has no token, so other web pages may not use it", code="page")
            if not _is_this_machine(headers.getlist("host")):
                message = "this service has no token, so its host must be 127.0.0.1, [::1] or localhost"
                raise HttpError(403, message, code="host")
        elif path not in PUBLIC_ROUTES and not hmac.compare_digest(_bearer_token(headers), self._token):
            message = "the token is missing or wrong: send it as Authorization: Bearer TOKEN"
            raise HttpError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        if path not in self._routes:
            known = ", ".join(sorted(self._routes))
            raise HttpError(404, f"no such route; there are {known}", code="unknown_url")


def _is_own_page(headers: Headers) -> bool:
    """Whether no page of a browser asks, or one that this service has served."""
    own = {f"http://{host}" for host in headers.getlist("host")}
    return set(headers.getlist("origin")) <= own and headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _bearer_token(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def _is_this_machine(hosts: Sequence[str]) -> bool:
    """Whether there is one Host header, with an address that no name server resolves."""
    found = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return found is not None and is_loopback((found["v6"] or found["name"]).lower())


def _place(e: Exception) -> str:
    where = traceback.extract_tb(e.__traceback__)[-1]
    return f"{type(e).__name__} in {Path(where.filename).name}, line {where.lineno}"


def error_response(error: HttpError) -> JSONResponse:
    """The response for an error."""
    return JSONResponse(error.body, error.status, error.headers)


async def method_not_allowed(request: Request, e: Exception) -> Response:
    """The response to a method that a route does not have, the one error that Starlette raises itself."""
    assert isinstance(e, HTTPException)
    allowed = (e.headers or {}).get("Allow", "another method")
    return error_response(HttpError(e.status_code, f"{e.detail.lower()} here; use {allowed}", headers=e.headers))


class ConcurrencyLimit:
    """Bounds the requests that are handled at a time, and the memory of their bodies.

    Large bodies together take at most `MAX_BODIES_HELD` times the largest size allowed: further ones wait unread. Small
    ones do not wait for them, since they may arrive slowly.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits, self._handled = limits, 0
        self._large_bodies = WeightedSemaphore(MAX_BODIES_HELD * limits.max_body)

    @asynccontextmanager
    async def admitted(self, request: Request) -> AsyncIterator[bytes]:
        """Counts a request while the context lasts, and gives its body.

        Raises:
            HttpError: too many requests are handled already; or the body is too large, or too slow.
        """
        if self._handled >= self._limits.concurrency:
            message = f"{self._limits.concurrency} requests are waiting already; try again in a second"
            raise HttpError(503, message, code="overloaded", headers={"Retry-After": "1"})
        if (size := int(request.headers.get("content-length", self._limits.max_body))) > self._limits.max_body:
            raise _too_large(self._limits)
        self._handled += 1
        try:
            async with self._large_bodies.acquired(size) if size > SMALL_BODY else nullcontext():
                yield await _read_body(request, self._limits)
        finally:
            self._handled -= 1


def _too_large(limits: RequestLimits) -> HttpError:
    message = f"a body may have at most {limits.max_body:,} bytes; send fewer inputs per request"
    return HttpError(413, message, code="too_large")


async def _read_body(request: Request, limits: RequestLimits) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_body:
                    raise _too_large(limits)
    except TimeoutError as e:
        message = f"the body did not arrive within {limits.body_timeout:g} seconds"
        raise HttpError(408, message, code="too_slow", headers={"Connection": "close"}) from e
    return bytes(body)
