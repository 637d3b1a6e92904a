"""The body of a model that is cut, for clients that hold its head and tail (`fedbbpt.split`)."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fedbbpt.algorithms.line import Server, Wire, pack, read
from fedbbpt.backend import Answers
from fedbbpt.serve import Limits, Refusal
from fedbbpt.serve.counts import Counts
from fedbbpt.serve.guard import Door, Guard, as_refused, read_body
from fedbbpt.serve.tickets import LONGEST, Tickets
from fedbbpt.split import BEFORE, Split
from fedbbpt.types import Float32

MOST_TOKENS = 4096  # of a sample


class Body(NamedTuple):
    """What is served, and where it was cut."""

    split: Split
    model: str
    head: int  # blocks before it
    tail: int  # blocks behind it


class SplitService:
    """A body in the thread that has opened it, and what it takes to answer for it. To be closed in the end.

    GET /v1/split says what it is. POST /v1/split/forward takes activations (b, n, D) and gives the body's, POST
    /v1/split/backward takes gradients at those and gives the ones at what went forward; both as safetensors, answered
    in the format in which they came (`line.pack`), with `?body=` the identity. The way back is kept where forward
    names a `ticket`, which backward then names. The body stays as it is: every client sees the same.
    """

    def __init__(self, thread: Executor, body: Body, limits: Limits, token: str | None = None) -> None:
        self._thread, self._body, self._limits = thread, body, limits
        self._parameters = thread.submit(body.split.init, 0).result()["body"]
        self._counts, self._door, self._tickets = Counts(), Door(limits.concurrency), Tickets()
        asked = {"/v1/split/forward": self._forward, "/v1/split/backward": self._backward}
        looks = {"/v1/split": self._describe, "/healthz": self._health, "/metrics": self._metrics}
        routes = [Route(path, answer, methods=["POST"]) for path, answer in asked.items()]
        routes += [Route(path, look, methods=["GET"]) for path, look in looks.items()]
        guard = Middleware(Guard, routes={*asked, *looks}, token=token, counts=self._counts)
        self.app = Starlette(routes=routes, middleware=[guard], exception_handlers={HTTPException: as_refused})

    def close(self) -> None:
        """Waits until the body has nothing more to do."""
        self._thread.submit(lambda: None).result()

    async def _forward(self, request: Request) -> Response:
        ticket = _ticket(request)

        def pass_on(values: Float32) -> Float32:
            server = Server(self._body.split, self._parameters, frozenset() if ticket is None else BEFORE["body"], 0.0)
            start = time.perf_counter()
            passed = server.forward(values)
            self._counts.called(len(values), time.perf_counter() - start, Answers(passed))
            if ticket is not None:
                self._tickets.keep(ticket, server, passed.shape)
            return passed

        return await self._answer(request, pass_on)

    async def _backward(self, request: Request) -> Response:
        if (ticket := _ticket(request)) is None:
            raise Refusal(400, "gradients need the ticket that went forward, as ?ticket=", param="ticket")
        return await self._answer(request, lambda values: self._tickets.take(ticket, values.shape).backward(values))

    async def _answer(self, request: Request, compute: Callable[[Float32], Float32]) -> Response:
        with self._door.entered():
            if request.query_params.get("body") != self._body.split.identity:
                raise Refusal(409, "this is not the body that is asked for as ?body=", param="body", code="other_body")
            message = await read_body(request, self._limits)
            values, wire = await asyncio.to_thread(self._read, message)
            answer = await asyncio.wrap_future(self._thread.submit(compute, values))
            reply = await asyncio.to_thread(pack, answer, wire)
            return Response(reply, media_type="application/octet-stream")

    def _read(self, message: bytes) -> tuple[Float32, Wire]:
        try:
            values, wire = read(message)
        except ValueError as e:
            raise Refusal(400, f"the body of the request cannot be read: {e}", code="unreadable") from e
        _, tokens, width = values.shape
        if tokens > MOST_TOKENS or width != self._body.split.width:
            expected = f"(samples, at most {MOST_TOKENS} tokens, {self._body.split.width})"
            raise Refusal(400, f"expected an array {expected}, got {values.shape}", code="shape")
        return values, wire

    async def _describe(self, request: Request) -> Response:
        split, model, head, tail = self._body
        cut = {"identity": split.identity, "head": head, "tail": tail}
        return JSONResponse({"model": model, **cut, "width": split.width})

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self._counts.text())


def _ticket(request: Request) -> str | None:
    ticket = request.query_params.get("ticket")
    if ticket is not None and not 0 < len(ticket) <= LONGEST:
        raise Refusal(400, f"a ticket has at most {LONGEST} characters", param="ticket", code="ticket")
    return ticket
