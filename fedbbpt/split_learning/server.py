"""The body of a model that is cut, for clients that hold its head and tail (`fedbbpt.split_learning`)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedbbpt.backend import BackendOutput
from fedbbpt.serve import HttpError, RequestLimits
from fedbbpt.serve.metrics import ServerMetrics
from fedbbpt.serve.middleware import AccessMiddleware, ConcurrencyLimit, method_not_allowed
from fedbbpt.split_learning.activation_cache import LONGEST, ActivationCache, size_of
from fedbbpt.split_learning.activations import ActivationDtype, pack, unpack_untrusted
from fedbbpt.split_learning.protocol import UPSTREAM, SplitModel
from fedbbpt.split_learning.transport import BodyRunner
from fedbbpt.types import Float32

MOST_TOKENS = 4096  # of a sample
MOST_AT_ONCE = 2**25  # numbers of a request as `size_of` counts them: 128 samples pass a ViT-L/16 with room to spare
PAUSE = 0.02  # seconds until one looks again whether there is room
T = TypeVar("T")


class Body(NamedTuple):
    """What is served, and where it was cut."""

    split: SplitModel
    model: str
    head_blocks: int  # before it
    tail_blocks: int  # behind it


class SplitService:
    """A body in the thread that has opened it, and what it takes to answer for it. To be closed in the end.

    GET /v1/split says what it is. POST /v1/split/forward takes activations (b, n, D) and gives the body's, POST
    /v1/split/backward takes gradients at those and gives the ones at what went forward; both as safetensors, answered
    in the format in which they came (`line.pack`), with `?body=` the identity. The way back is kept where forward
    names a `ticket`, which backward then names. The body stays as it is: every client sees the same.
    """

    def __init__(self, thread: Executor, body: Body, limits: RequestLimits, token: str | None = None) -> None:
        self._thread, self._body = thread, body
        self._parameters = thread.submit(body.split.init, 0).result()["body"]
        self._metrics, self._tickets, self._turn = ServerMetrics(), ActivationCache(), asyncio.Lock()
        # One for each way: what waits for room must not shut out the gradients that make some.
        self._forwards, self._backwards = ConcurrencyLimit(limits), ConcurrencyLimit(limits)
        self._tidying: asyncio.TimerHandle | None = None
        asked = {"/v1/split/forward": self._forward, "/v1/split/backward": self._backward}
        looks = {"/v1/split": self._describe, "/healthz": self._health, "/metrics": self._render_metrics}
        routes = [Route(path, answer, methods=["POST"]) for path, answer in asked.items()]
        routes += [Route(path, look, methods=["GET"]) for path, look in looks.items()]
        access = Middleware(AccessMiddleware, routes={*asked, *looks}, token=token, metrics=self._metrics)
        self.app = Starlette(routes=routes, middleware=[access], exception_handlers={HTTPException: method_not_allowed})

    def close(self) -> None:
        """Waits until the body has nothing more to do; to be called when `app` answers no more."""
        if self._tidying:
            self._tidying.cancel()
        self._thread.submit(lambda: None).result()

    async def _forward(self, request: Request) -> Response:
        ticket = _ticket(request)

        async def pass_on(values: Float32) -> Float32:
            if ticket is None:
                return await self._run(self._pass, values, ticket)
            async with self._turn:  # who came first is first, however much room is needed
                while not await self._run(self._tickets.make_room, ticket, values.shape):
                    await asyncio.sleep(PAUSE)
                passed = await self._run(self._pass, values, ticket)
            self._tidy_later()
            return passed

        return await self._answer(request, self._forwards, pass_on)

    def _pass(self, values: Float32, ticket: str | None) -> Float32:
        server = BodyRunner(
            self._body.split, self._parameters, frozenset() if ticket is None else UPSTREAM["body"], 0.0
        )
        start = time.perf_counter()
        passed = server.forward(values)
        self._metrics.count_batch(len(values), time.perf_counter() - start, BackendOutput(passed))
        if ticket is not None:
            self._tickets.keep(ticket, server, passed.shape)
        return passed

    def _tidy_later(self) -> None:
        """So that what nobody comes back for goes though nobody asks anything; who asks earlier tidies, too."""
        if self._tidying:
            self._tidying.cancel()
        later = asyncio.get_running_loop().call_later
        self._tidying = later(self._tickets.seconds, self._thread.submit, self._tickets.tidy)

    async def _backward(self, request: Request) -> Response:
        if (ticket := _ticket(request)) is None:
            raise HttpError(400, "gradients need the ticket that went forward, as ?ticket=", param="ticket")

        def go_back(values: Float32) -> Float32:
            return self._tickets.take(ticket, values.shape).backward(values)

        return await self._answer(request, self._backwards, partial(self._run, go_back))

    async def _answer(
        self, request: Request, limit: ConcurrencyLimit, compute: Callable[[Float32], Awaitable[Float32]]
    ) -> Response:
        if request.query_params.get("body") != self._body.split.identity:
            raise HttpError(409, "this is not the body that is asked for as ?body=", param="body", code="other_body")
        async with limit.admitted(request) as message:
            values, wire = await asyncio.to_thread(self._read, message)
            reply = await asyncio.to_thread(pack, await compute(values), wire)
        return Response(reply, media_type="application/octet-stream")

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        """In the body's thread."""
        return await asyncio.wrap_future(self._thread.submit(function, *args))

    def _read(self, message: bytes) -> tuple[Float32, ActivationDtype]:
        try:
            values, wire = unpack_untrusted(message)
        except ValueError as e:
            raise HttpError(400, f"the body of the request cannot be read: {e}", code="unreadable") from e
        _, tokens, width = values.shape
        if tokens > MOST_TOKENS or width != self._body.split.width:
            expected = f"(samples, at most {MOST_TOKENS} tokens, {self._body.split.width})"
            raise HttpError(400, f"expected an array {expected}, got {values.shape}", code="shape")
        if size_of(values.shape) > MOST_AT_ONCE:
            advice = "send fewer samples at a time (algorithm.batch_size, backend.batch)"
            raise HttpError(400, f"an array {values.shape} is too much for one request; {advice}", code="too_much")
        return values, wire

    async def _describe(self, request: Request) -> Response:
        split, model, head, tail = self._body
        cut = {"identity": split.identity, "head_blocks": head, "tail_blocks": tail}
        return JSONResponse({"model": model, **cut, "width": split.width})

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _render_metrics(self, request: Request) -> Response:
        content, content_type = self._metrics.render(request.headers.get("accept", ""))
        return Response(content, media_type=content_type)


def _ticket(request: Request) -> str | None:
    ticket = request.query_params.get("ticket")
    if ticket is not None and not 0 < len(ticket) <= LONGEST:
        raise HttpError(400, f"a ticket has at most {LONGEST} characters", param="ticket", code="ticket")
    return ticket
