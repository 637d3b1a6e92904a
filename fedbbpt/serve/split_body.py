"""The body of a split model as an HTTP service, for clients that hold head and tail."""

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
from fedbbpt.serve.activation_cache import MAX_TICKET_LENGTH, ActivationCache, size_of
from fedbbpt.serve.metrics import ServerMetrics
from fedbbpt.serve.middleware import AccessMiddleware, ConcurrencyLimit, method_not_allowed
from fedbbpt.split_learning.activations import ActivationDtype, pack, unpack_untrusted
from fedbbpt.split_learning.protocol import UPSTREAM, Part, Precision, SplitModel, Splittable
from fedbbpt.split_learning.transport import BodyRunner
from fedbbpt.types import Float32

MAX_TOKENS = 4096  # per sample
MAX_REQUEST_SIZE = 2**25  # numbers as `size_of` counts them: 128 samples pass a ViT-L/16 with room to spare
MAX_BODY = 4 * MAX_REQUEST_SIZE + 4096  # bytes of a request as large, in float32, with its header
POLL_INTERVAL = 0.02  # seconds between two looks whether there is room
T = TypeVar("T")


class ServedBody(NamedTuple):
    """The body that is served, and where its model was cut."""

    split_model: SplitModel
    model: str  # its name
    head_blocks: int  # before the body
    tail_blocks: int  # behind it

    @classmethod
    def of(cls, backend: Splittable, head_blocks: int, tail_blocks: int, dtype: Precision) -> "ServedBody":
        """The body of a backend's model; the backend drops the other parts.

        Raises:
            ConfigError: the model has fewer blocks, or is not made of blocks.
        """
        split_model = backend.partition_model(
            head_blocks=head_blocks,
            tail_blocks=tail_blocks,
            num_prompt_tokens=0,
            deep_prompt=False,
            num_classes=1,
            dtype=dtype,
            role="server",
        )
        return cls(split_model, backend.info.model, head_blocks, tail_blocks)


class BodyService:
    """Runs a body for clients, in the thread that loaded it; call `close` in the end.

    - GET /v1/split describes the body.
    - POST /v1/split/forward takes activations (b, n, D) and returns the body's output. With `?ticket=`, the backward
      pass is kept under that ticket.
    - POST /v1/split/backward takes gradients with respect to that output and the same `?ticket=`, and returns those
      with respect to the activations.

    Arrays travel as `activations.pack` writes them, and come back in the format in which they came. `?body=` names the
    identity of the body that is meant. The body is never trained: all clients see the same.
    """

    def __init__(self, thread: Executor, body: ServedBody, limits: RequestLimits, token: str | None = None) -> None:
        self._thread, self._body = thread, body
        self._parameters = thread.submit(body.split_model.init, 0).result()["body"]
        self._metrics, self._cache, self._turn = ServerMetrics(), ActivationCache(), asyncio.Lock()
        # One limit per direction: forward passes that wait for room must not shut out the gradients that make some.
        self._forwards, self._backwards = ConcurrencyLimit(limits), ConcurrencyLimit(limits)
        self._eviction: asyncio.TimerHandle | None = None
        post = {"/v1/split/forward": self._forward, "/v1/split/backward": self._backward}
        get = {"/v1/split": self._describe, "/healthz": self._health, "/metrics": self._render_metrics}
        routes = [Route(path, handler, methods=["POST"]) for path, handler in post.items()]
        routes += [Route(path, handler, methods=["GET"]) for path, handler in get.items()]
        access = Middleware(AccessMiddleware, routes={*post, *get}, token=token, metrics=self._metrics)
        self.app = Starlette(routes=routes, middleware=[access], exception_handlers={HTTPException: method_not_allowed})

    def close(self) -> None:
        """Waits until the body is idle; to be called once `app` takes no more requests."""
        if self._eviction:
            self._eviction.cancel()
        self._thread.submit(lambda: None).result()

    async def _forward(self, request: Request) -> Response:
        ticket = _ticket(request)

        async def run_forward(values: Float32) -> Float32:
            if ticket is None:
                return await self._run(self._forward_pass, values, ticket)
            async with self._turn:  # first come, first served, however much room each needs
                while not await self._run(self._cache.make_room, ticket, values.shape):
                    await asyncio.sleep(POLL_INTERVAL)
                output = await self._run(self._forward_pass, values, ticket)
            self._schedule_eviction()
            return output

        return await self._respond(request, self._forwards, run_forward)

    def _forward_pass(self, values: Float32, ticket: str | None) -> Float32:
        trained: frozenset[Part] = frozenset() if ticket is None else UPSTREAM["body"]
        runner = BodyRunner(self._body.split_model, self._parameters, trained, 0.0)
        start = time.perf_counter()
        output = runner.forward(values)
        self._metrics.count_batch(len(values), time.perf_counter() - start, BackendOutput(output))
        if ticket is not None:
            self._cache.put(ticket, runner, output.shape)
        return output

    def _schedule_eviction(self) -> None:
        """Frees what nobody comes back for, even if no further request comes."""
        if self._eviction:
            self._eviction.cancel()
        later = asyncio.get_running_loop().call_later
        self._eviction = later(self._cache.ttl, self._thread.submit, self._cache.evict_expired)

    async def _backward(self, request: Request) -> Response:
        if (ticket := _ticket(request)) is None:
            raise HttpError(400, "gradients need the ticket of their forward pass, as ?ticket=", param="ticket")

        def backward_pass(gradients: Float32) -> Float32:
            return self._cache.take(ticket, gradients.shape).backward(gradients)

        return await self._respond(request, self._backwards, partial(self._run, backward_pass))

    async def _respond(
        self, request: Request, limit: ConcurrencyLimit, compute: Callable[[Float32], Awaitable[Float32]]
    ) -> Response:
        if request.query_params.get("body") != self._body.split_model.identity:
            raise HttpError(409, "this is not the body that ?body= asks for", param="body", code="other_body")
        async with limit.admitted(request) as message:
            values, dtype = await asyncio.to_thread(self._read, message)
            reply = await asyncio.to_thread(pack, await compute(values), dtype)
        return Response(reply, media_type="application/octet-stream")

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a function in the body's thread."""
        return await asyncio.wrap_future(self._thread.submit(function, *args))

    def _read(self, message: bytes) -> tuple[Float32, ActivationDtype]:
        try:
            values, dtype = unpack_untrusted(message)
        except ValueError as e:
            raise HttpError(400, f"the body of the request cannot be read: {e}", code="unreadable") from e
        _, tokens, width = values.shape
        if tokens > MAX_TOKENS or width != self._body.split_model.width:
            expected = f"(samples, at most {MAX_TOKENS} tokens, {self._body.split_model.width})"
            raise HttpError(400, f"expected an array {expected}, got {values.shape}", code="shape")
        if size_of(values.shape) > MAX_REQUEST_SIZE:
            advice = "send fewer samples per request (algorithm.batch_size, backend.max_batch)"
            raise HttpError(400, f"an array {values.shape} is too large for one request; {advice}", code="too_much")
        return values, dtype

    async def _describe(self, request: Request) -> Response:
        split_model, model, head_blocks, tail_blocks = self._body
        cut = {"identity": split_model.identity, "head_blocks": head_blocks, "tail_blocks": tail_blocks}
        return JSONResponse({"model": model, **cut, "width": split_model.width})

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _render_metrics(self, request: Request) -> Response:
        content, content_type = self._metrics.render(request.headers.get("accept", ""))
        return Response(content, media_type=content_type)


def _ticket(request: Request) -> str | None:
    ticket = request.query_params.get("ticket")
    if ticket is not None and not 0 < len(ticket) <= MAX_TICKET_LENGTH:
        raise HttpError(400, f"a ticket has 1 to {MAX_TICKET_LENGTH} characters", param="ticket", code="ticket")
    return ticket
