"""The routes of a served model."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedbbpt.errors import BudgetError, ConfigError, DataError
from fedbbpt.serve import HttpError, RequestLimits, pages
from fedbbpt.serve.batching import Batcher
from fedbbpt.serve.chat import ChatRequest
from fedbbpt.serve.classify import ClassifyRequest
from fedbbpt.serve.compare import CompareRequest
from fedbbpt.serve.completions import CompletionRequest
from fedbbpt.serve.embeddings import EmbeddingRequest
from fedbbpt.serve.idempotency import IdempotencyCache
from fedbbpt.serve.images import MAX_PIXELS_HELD, EncodedImages
from fedbbpt.serve.metrics import ServerMetrics
from fedbbpt.serve.middleware import AccessMiddleware, ConcurrencyLimit, method_not_allowed
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.model_list import ModelCard, ModelList
from fedbbpt.serve.openapi import openapi_document
from fedbbpt.serve.schemas import ApiRequest, parse_request
from fedbbpt.serve.semaphore import WeightedSemaphore

T = TypeVar("T")

POST_ROUTES: dict[str, type[ApiRequest]] = {
    "/v1/classify": ClassifyRequest,
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatRequest,
    "/v1/embeddings": EmbeddingRequest,
}
TUNED_ROUTES: dict[str, type[ApiRequest]] = {"/v1/compare": CompareRequest}


class InferenceService:
    """The ASGI application `app` for a model that lives in `thread`. Call `close` when it serves no more."""

    def __init__(self, thread: Executor, model: ServedModel, limits: RequestLimits, token: str | None = None) -> None:
        self._model, self._limits = model, limits
        self._metrics, self._idempotency = ServerMetrics(), IdempotencyCache()
        self._concurrency = ConcurrencyLimit(limits)
        # One parser thread: parsed requests are large, and malloc gives no thread the memory that another freed.
        self._parser, self._image_memory = ThreadPoolExecutor(1, "fedbbpt-parser"), WeightedSemaphore(MAX_PIXELS_HELD)
        self._started = int(time.time())
        post_routes = POST_ROUTES | ({} if model.tuned is None else TUNED_ROUTES)
        self._openapi = openapi_document(post_routes)
        routes = [Route(path, partial(self._answer, schema), methods=["POST"]) for path, schema in post_routes.items()]
        get_routes: dict[str, Callable[[Request], Any]] = {
            "/v1/models": self._models,
            "/healthz": self._health,
            "/metrics": self._render_metrics,
            "/openapi.json": self._describe,
            "/docs": partial(pages.respond, pages.page_of("docs", document=self._openapi)),
        }
        if model.tuned is not None:
            get_routes["/"] = partial(pages.respond, pages.page_of("try"))
        routes += [Route(path, endpoint, methods=["GET"]) for path, endpoint in get_routes.items()]
        access = Middleware(AccessMiddleware, routes={*post_routes, *get_routes}, token=token, metrics=self._metrics)
        self.app = Starlette(routes=routes, middleware=[access], exception_handlers={HTTPException: method_not_allowed})
        self._batcher = Batcher(thread, model.info.max_batch, self._metrics.count_batch)  # last: it takes the thread

    def close(self) -> None:
        """Frees the model's thread, once all waiting requests are answered."""
        self._batcher.close()
        self._parser.shutdown()

    async def _in_parser(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._parser, function, *args)

    async def _answer(self, schema: type[ApiRequest], request: Request) -> Response:
        async with self._concurrency.admitted(request) as body:
            parsed = await self._in_parser(parse_request, schema, body)
            name = self._model.info.model
            if parsed.model not in (None, name):
                message = f"this service has one model, {name}: leave out model, or set it to that name"
                raise HttpError(404, message, param="model", code="model_not_found")
            compute = partial(self._compute, parsed)
            if (key := request.headers.get("idempotency-key")) is None:
                return Response(await compute(), media_type="application/json")
            identity = request.url.path.encode() + b"\n" + body
            content, replayed = await self._idempotency.get_or_compute(key, identity, compute)
            headers = {"Idempotent-Replayed": str(replayed).lower()}
            return Response(content, headers=headers, media_type="application/json")

    async def _compute(self, parsed: ApiRequest) -> bytes:
        query = parsed.model_query(self._model)
        inputs = await self._in_parser(parsed.read_inputs, self._model, self._limits)
        try:
            if isinstance(inputs, EncodedImages):
                async with self._image_memory.acquired(inputs.pixels):
                    output = await self._batcher.query(query, await self._in_parser(inputs.decode))
            else:
                output = await self._batcher.query(query, inputs)
        except (ConfigError, DataError) as e:  # the model cannot read these inputs, and says why
            raise HttpError(400, str(e), code="unreadable") from e
        except BudgetError as e:
            raise HttpError(429, str(e), code="insufficient_quota") from e
        return await asyncio.to_thread(lambda: parsed.respond(self._model, output).model_dump_json().encode())

    async def _models(self, request: Request) -> Response:
        return JSONResponse(ModelList(data=[ModelCard.of(self._model, self._started)]).model_dump())

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _render_metrics(self, request: Request) -> Response:
        content, content_type = self._metrics.render(request.headers.get("accept", ""))
        return Response(content, media_type=content_type)

    async def _describe(self, request: Request) -> Response:
        return JSONResponse(self._openapi)
