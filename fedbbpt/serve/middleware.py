"""What stands before the routes: the token, the limits, and one shape for all that goes wrong."""

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

from fedbbpt.serve import MIB, Limits, Refusal
from fedbbpt.serve.metrics import Counts
from fedbbpt.serve.semaphore import WeightedSemaphore
from fedbbpt.web.urls import is_loopback

OPEN = "/healthz"  # needs no token
HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:@\[\]]+))(?::[0-9]*)?", re.IGNORECASE)

BODIES = 4  # of the largest size, in memory at a time
SMALL = MIB  # bytes of a body

log = logging.getLogger("fedbbpt.serve")


class Guard:
    """Lets a request pass that knows the token and asks for one of the routes, and counts the replies.

    Without a token, only programs on this machine may ask. A browser runs on this machine, too, but the page in it may
    be anybody's, so what it sends on behalf of a page is refused. A page whose own host name was made to lead here (DNS
    rebinding) is known by the Host that it asks for. Nothing of a request is logged, and of an error only its type and
    its place.
    """

    def __init__(self, app: ASGIApp, routes: Collection[str], token: str | None, counts: Counts) -> None:
        self._app, self._routes, self._counts = app, routes, counts
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        route = scope["path"] if scope["path"] in self._routes else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts.replied(route, message["status"])
            await send(message)

        self._counts.in_flight.inc()
        try:
            self._check(scope["path"], Headers(scope=scope))
            await self._app(scope, receive, counted)
        except ClientDisconnect:
            pass
        except Refusal as e:
            await as_response(e)(scope, receive, counted)
        except asyncio.CancelledError:
            await as_response(Refusal(503, "the service is stopping", code="stopping"))(scope, receive, counted)
        except Exception as e:
            log.error("%s %s: %s", scope["method"], route, _place(e))
            message = "the model or the service failed; the service's log says where"
            await as_response(Refusal(500, message, code="failed"))(scope, receive, counted)
        finally:
            self._counts.in_flight.dec()

    def _check(self, path: str, headers: Headers) -> None:
        if self._token is None:
            if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
                raise Refusal(403, "pages may not ask this service, since it has no token", code="page")
            if not _names_this_machine(headers.getlist("host")):
                message = (
                    "without a token, this service is asked as 127.0.0.1, [::1] or localhost, and as no other host"
                )
                raise Refusal(403, message, code="host")
        elif path != OPEN and not hmac.compare_digest(_given(headers), self._token):
            message = "the token is missing or wrong: send it as Authorization: Bearer TOKEN"
            raise Refusal(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        if path not in self._routes:
            known = ", ".join(sorted(self._routes))
            raise Refusal(404, f"no such route; there are {known}", code="unknown_url")


def _given(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def _names_this_machine(hosts: Sequence[str]) -> bool:
    """Whether there is one Host, and it is an address that no name server decides about."""
    found = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return found is not None and is_loopback((found["v6"] or found["name"]).lower())


def _place(e: Exception) -> str:
    where = traceback.extract_tb(e.__traceback__)[-1]
    return f"{type(e).__name__} in {Path(where.filename).name}, line {where.lineno}"


def as_response(refusal: Refusal) -> JSONResponse:
    """A refusal as it is sent."""
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


async def as_refused(request: Request, e: Exception) -> Response:
    """What Starlette itself refuses, which is a method that a route does not know."""
    assert isinstance(e, HTTPException)
    known = (e.headers or {}).get("Allow", "another method")
    return as_response(Refusal(e.status_code, f"{e.detail.lower()} here; ask with {known}", headers=e.headers))


class Door:
    """Lets so many in at a time, and reads what they bring.

    Of large bodies, as many bytes at a time as `BODIES` of the largest have: who comes with more waits outside, unread.
    Small ones do not wait for those, which may come slowly.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self._inside, self._large = limits, 0, WeightedSemaphore(BODIES * limits.body)

    @asynccontextmanager
    async def entered(self, request: Request) -> AsyncIterator[bytes]:
        """Inside, with the request's body.

        Raises:
            Refusal: too many are; or the body is too large, or too slow.
        """
        if self._inside >= self._limits.concurrency:
            message = f"{self._limits.concurrency} requests are waiting already; try again in a second"
            raise Refusal(503, message, code="overloaded", headers={"Retry-After": "1"})
        if (size := int(request.headers.get("content-length", self._limits.body))) > self._limits.body:
            raise _too_large(self._limits)
        self._inside += 1
        try:
            async with self._large.acquired(size) if size > SMALL else nullcontext():
                yield await _body_of(request, self._limits)
        finally:
            self._inside -= 1


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"a body has at most {limits.body:,} bytes; send fewer inputs at a time", code="too_large")


async def _body_of(request: Request, limits: Limits) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body:
                    raise _too_large(limits)
    except TimeoutError as e:
        message = f"the body did not arrive within {limits.body_seconds:g} seconds"
        raise Refusal(408, message, code="too_slow", headers={"Connection": "close"}) from e
    return bytes(body)
