"""The service's own description, OpenAPI 3.1."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import fedbbpt
from fedbbpt.serve.idempotency import LONGEST_KEY
from fedbbpt.serve.schemas import Question

REFERENCE = "#/components/schemas/{model}"
TO_STRANGERS = (401, 403)
TO_QUESTIONS = (400, *TO_STRANGERS, 404, 408, 413, 422, 500, 503)
ANY: dict[str, Any] = {"application/json": {"schema": {}}}
TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same request under the same key is answered again with the first reply, and not computed.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
}


class Model(BaseModel):
    """The model that answers: how it is asked, and in what words it answers."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["fedbbpt"] = "fedbbpt"
    modality: Literal["image", "text"]
    input_size: tuple[int, int] | None
    classes: list[str]
    words: list[str]
    kind: str
    batch_limit: int
    embeddings: bool


class Models(BaseModel):
    """All models, which is one."""

    object: Literal["list"] = "list"
    data: list[Model]


class Detail(BaseModel):
    """What went wrong, in one sentence."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str | None


class Error(BaseModel):
    """OpenAI's shape for errors."""

    error: Detail


def describe(questions: Mapping[str, type[Question]]) -> dict[str, Any]:
    """All routes with their parameters, replies and errors, as JSON."""
    shapes: list[type[BaseModel]] = [Models, Error]
    paths: dict[str, Any] = {
        "/v1/models": {"get": _look("The model", _json(Models), TO_STRANGERS)},
        "/healthz": {"get": _look("Whether the service is there", ANY, ())},
        "/metrics": {"get": _look("Counts for Prometheus", TEXT, TO_STRANGERS)},
        "/openapi.json": {"get": _look("This description", ANY, TO_STRANGERS)},
    }
    for path, question in questions.items():
        shapes += [question, question.replies]
        about = _look(question.__doc__ or "", _json(question.replies), TO_QUESTIONS)
        body = {"required": True, "content": _json(question)}
        paths[path] = {"post": about | {"parameters": [KEY], "requestBody": body}}
    _, schemas = models_json_schema([(shape, "validation") for shape in shapes], ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "fedbbpt", "version": fedbbpt.__version__},
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas["$defs"],
        },
    }


def _look(summary: str, content: dict[str, Any], errors: Iterable[int]) -> dict[str, Any]:
    statuses = {str(status): {"description": HTTPStatus(status).phrase, "content": _json(Error)} for status in errors}
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": content}} | statuses}


def _json(shape: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(model=shape.__name__)}}}
