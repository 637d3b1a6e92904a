"""The OpenAPI 3.1 document of the service."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import fedbbpt
from fedbbpt.serve.idempotency import MAX_KEY_LENGTH
from fedbbpt.serve.model_list import ModelList
from fedbbpt.serve.schemas import ApiRequest

REFERENCE = "#/components/schemas/{model}"
ACCESS_ERRORS = (401, 403)
POST_ERRORS = (400, *ACCESS_ERRORS, 404, 408, 413, 422, 429, 500, 503)
ANY_JSON: dict[str, Any] = {"application/json": {"schema": {}}}
PLAIN_TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
WEB_PAGE: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request repeated under its key gets the first response, without being computed again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]+$"},
}


class ErrorDetail(BaseModel):
    """What went wrong, in one sentence."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """OpenAI's error format."""

    error: ErrorDetail


def openapi_document(post_routes: Mapping[str, type[ApiRequest]]) -> dict[str, Any]:
    """All routes with their parameters, responses and errors, as JSON."""
    schemas: list[type[BaseModel]] = [ModelList, ErrorResponse]
    paths: dict[str, Any] = {
        "/v1/models": {"get": _operation("The served model", _json(ModelList), ACCESS_ERRORS)},
        "/healthz": {"get": _operation("Whether the service is up", ANY_JSON, ())},
        "/metrics": {"get": _operation("Metrics for Prometheus", PLAIN_TEXT, ACCESS_ERRORS)},
        "/openapi.json": {"get": _operation("This document", ANY_JSON, ACCESS_ERRORS)},
        "/docs": {"get": _operation("This document, as a page", WEB_PAGE, (403,))},
    }
    for path, schema in post_routes.items():
        schemas += [schema, schema.response_schema]
        operation = _operation(schema.__doc__ or "", _json(schema.response_schema), POST_ERRORS)
        body = {"required": True, "content": _json(schema)}
        paths[path] = {"post": operation | {"parameters": [IDEMPOTENCY_KEY], "requestBody": body}}
    _, definitions = models_json_schema([(schema, "validation") for schema in schemas], ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "fedbbpt", "version": fedbbpt.__version__},
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": definitions["$defs"],
        },
    }


def _operation(summary: str, content: dict[str, Any], errors: Iterable[int]) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "OK", "content": content}}
    for status in errors:
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": _json(ErrorResponse)}
    return {"summary": summary, "responses": responses}


def _json(schema: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(model=schema.__name__)}}}
