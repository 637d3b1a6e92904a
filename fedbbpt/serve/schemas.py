"""Request and response schemas that the routes share, in OpenAI's format."""

import re
import time
import uuid
from itertools import islice
from typing import Annotated, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from fedbbpt.backend import BackendOutput
from fedbbpt.data.texts import as_texts
from fedbbpt.serve import MAX_INPUTS, HttpError, RequestLimits
from fedbbpt.serve.batching import ModelQuery
from fedbbpt.serve.images import EncodedImages
from fedbbpt.serve.model import ServedModel
from fedbbpt.types import Float32, Inputs

MAX_LOGPROBS = 20
MAX_JSON_TOKENS = 2**19  # per body: a parser takes some 100 bytes for each value, even for one of two bytes
JSON_TOKEN = re.compile(rb'[,\[{:]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)
ZERO_PROBABILITY = -9999.0  # OpenAI's log-probability for it, since JSON has no infinity

R = TypeVar("R", bound="ApiRequest")
Texts = Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS)] | str
WordLogprob = tuple[str, float]  # a class's label words, and their log-probability


class ApiRequest(BaseModel):
    """The body of a POST request. Unknown parameters are refused, so that none is silently ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)
    response_schema: ClassVar[type[BaseModel]]
    model: str | None = None

    def model_query(self, model: ServedModel) -> ModelQuery:
        """What the model computes for this request: scores, unless a subclass says otherwise.

        Raises:
            HttpError: the model cannot compute it.
        """
        return model.query

    def read_inputs(self, model: ServedModel, limits: RequestLimits) -> Inputs | EncodedImages:
        """The inputs of the model.

        Raises:
            HttpError: the model cannot read them, or they exceed the limits.
        """
        raise NotImplementedError

    def respond(self, model: ServedModel, output: BackendOutput) -> BaseModel:
        """The response, a `response_schema`, for the model's output."""
        raise NotImplementedError


class CompletionRequestBase(ApiRequest):
    """OpenAI's sampling parameters, which change nothing: the answer is the most likely class at any temperature."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    user: str | None = None
    n: Literal[1] | None = 1
    stream: Literal[False] | None = False


class CompletionUsage(BaseModel):
    """Tokens read and written; 0 where the backend does not count them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, output: BackendOutput) -> "CompletionUsage":
        """The usage of one request."""
        return cls(
            prompt_tokens=output.tokens - output.output_tokens,
            completion_tokens=output.output_tokens,
            total_tokens=output.tokens,
        )


class CompletionBase(BaseModel):
    """Fields that completions and chat completions share."""

    id: str = Field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = Field(default_factory=lambda: int(time.time()))
    model: str
    usage: CompletionUsage


def parse_request(schema: type[R], body: bytes) -> R:
    """Parses the body of a request.

    Raises:
        HttpError: the body is not JSON in UTF-8, does not match the schema, or holds too many values. The message
            quotes none of its contents.
    """
    if next(islice(JSON_TOKEN.finditer(body), MAX_JSON_TOKENS, None), None):
        raise HttpError(413, f"a body may have at most {MAX_JSON_TOKENS:,} JSON tokens; send fewer inputs per request")
    try:
        return schema.model_validate_json(body)
    except ValidationError as e:
        errors = e.errors(include_input=False, include_url=False)
        worst = max(errors, key=lambda error: (_status(error), len(error["loc"])))
        param = str(worst["loc"][0]) if worst["loc"] else None
        message = worst["msg"][0].lower() + worst["msg"][1:]
        if worst["type"] == "extra_forbidden":
            message = "this service does not know this parameter; leave it out"
        sentence = f"{param}: {message}" if param else message
        raise HttpError(_status(worst), sentence, param=param, code=worst["type"]) from e


def _status(error: ErrorDetails) -> int:
    return 413 if error["type"] == "too_long" and error["ctx"]["max_length"] == MAX_INPUTS else 400


def as_list(texts: list[str] | str) -> list[str]:
    """A list of texts, also where one text is given alone."""
    return [texts] if isinstance(texts, str) else texts


def decode_inputs(model: ServedModel, given: list[str], limits: RequestLimits) -> Inputs | EncodedImages:
    """The given strings as texts, or as images in base64 if the model reads images.

    Raises:
        HttpError: an image cannot be read, or is too large.
    """
    if model.reads_texts:
        return as_texts(given)
    return EncodedImages(given, model.info.input_size, limits.max_pixels)


def ranked_words(model: ServedModel, row: Float32) -> list[WordLogprob]:
    """All classes' label words, most likely first, for log-probabilities (C,); empty if the query has no answer."""
    if np.isnan(row).any():
        return []
    finite = np.where(np.isneginf(row), np.float32(ZERO_PROBABILITY), row)
    order = np.argsort(-finite, kind="stable").tolist()
    return [(model.label_words[i], finite[i].item()) for i in order]
