"""The routes."""

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

from fedbbpt.errors import ConfigError, DataError
from fedbbpt.serve import Limits, Refusal
from fedbbpt.serve.batching import Batcher
from fedbbpt.serve.chat import Chat
from fedbbpt.serve.classify import Classify
from fedbbpt.serve.completions import Complete
from fedbbpt.serve.embeddings import Embed
from fedbbpt.serve.idempotency import Once
from fedbbpt.serve.images import MOST_AT_ONCE, Pictures
from fedbbpt.serve.metrics import Counts
from fedbbpt.serve.middleware import Door, Guard, as_refused
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.openapi import Model, Models, describe
from fedbbpt.serve.schemas import Question, parse
from fedbbpt.serve.semaphore import WeightedSemaphore

T = TypeVar("T")

QUESTIONS: dict[str, type[Question]] = {
    "/v1/classify": Classify,
    "/v1/completions": Complete,
    "/v1/chat/completions": Chat,
    "/v1/embeddings": Embed,
}


class Service:
    """A model in its thread, and what it takes to answer for it. To be closed in the end."""

    def __init__(self, thread: Executor, served: ServedModel, limits: Limits, token: str | None = None) -> None:
        self._served, self._limits = served, limits
        self._counts, self._once, self._door = Counts(), Once(), Door(limits)
        # One thread, since what is read unfolds, and memory that was freed in one thread is not another's.
        self._reader, self._images = ThreadPoolExecutor(1, "fedbbpt-reading"), WeightedSemaphore(MOST_AT_ONCE)
        self._batcher = Batcher(thread, served.info.batch_limit, self._counts.called)
        self._started = int(time.time())
        self._description = describe(QUESTIONS)
        routes = [Route(path, partial(self._answer, shape), methods=["POST"]) for path, shape in QUESTIONS.items()]
        looks = {
            "/v1/models": self._models,
            "/healthz": self._health,
            "/metrics": self._metrics,
            "/openapi.json": self._describe,
        }
        routes += [Route(path, look, methods=["GET"]) for path, look in looks.items()]
        guard = Middleware(Guard, routes={*QUESTIONS, *looks}, token=token, counts=self._counts)
        self.app = Starlette(routes=routes, middleware=[guard], exception_handlers={HTTPException: as_refused})

    def close(self) -> None:
        """Leaves the model's thread, once it has answered what waits."""
        self._batcher.close()
        self._reader.shutdown()

    async def _read(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, function, *args)

    async def _answer(self, shape: type[Question], request: Request) -> Response:
        async with self._door.entered(request) as body:
            question = await self._read(parse, shape, body)
            if question.model not in (None, self._served.info.model):
                message = f"this service has one model, {self._served.info.model}; leave out model, or name that one"
                raise Refusal(404, message, param="model", code="model_not_found")
            computed = partial(self._computed, question)
            if (key := request.headers.get("idempotency-key")) is None:
                return Response(await computed(), media_type="application/json")
            reply, again = await self._once(key, request.url.path.encode() + b"\n" + body, computed)
            return Response(reply, headers={"Idempotent-Replayed": str(again).lower()}, media_type="application/json")

    async def _computed(self, question: Question) -> bytes:
        ask = question.asks(self._served)
        inputs = await self._read(question.inputs, self._served, self._limits)
        try:
            if isinstance(inputs, Pictures):
                async with self._images.acquired(inputs.pixels):
                    answers = await self._batcher.answers(ask, await self._read(inputs.read))
            else:
                answers = await self._batcher.answers(ask, inputs)
        except (ConfigError, DataError) as e:  # the model cannot read these inputs, and says why
            raise Refusal(400, str(e), code="unreadable") from e
        return await asyncio.to_thread(lambda: question.reply(self._served, answers).model_dump_json().encode())

    async def _models(self, request: Request) -> Response:
        info = self._served.info
        model = Model(
            id=info.model,
            created=self._started,
            modality="text" if self._served.reads_texts else "image",
            input_size=info.input_size,
            classes=list(info.classes),
            words=list(self._served.words),
            kind=info.scores,
            batch_limit=info.batch_limit,
            embeddings=self._served.features is not None,
        )
        return JSONResponse(Models(data=[model]).model_dump())

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        content, kind = self._counts.shown(request.headers.get("accept", ""))
        return Response(content, media_type=kind)

    async def _describe(self, request: Request) -> Response:
        return JSONResponse(self._description)
