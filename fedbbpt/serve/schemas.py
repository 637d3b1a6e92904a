"""What all questions and replies have in common, in OpenAI's shapes."""

import re
import time
import uuid
from itertools import islice
from typing import Annotated, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from fedbbpt.backend import Answers
from fedbbpt.data.texts import as_texts
from fedbbpt.serve import MOST_INPUTS, Limits, Refusal
from fedbbpt.serve.batching import Ask
from fedbbpt.serve.images import Pictures
from fedbbpt.serve.model import ServedModel
from fedbbpt.types import Float32, Inputs

MOST_LOGPROBS = 20
MOST_TOKENS = 2**19  # of a body: a parser takes some 100 bytes for a value, even for one of two bytes
TOKENS = re.compile(rb'[,\[{:]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)
UNLIKELY = -9999.0  # OpenAI's word for a probability of 0, since JSON has no infinity

Q = TypeVar("Q", bound="Question")
Texts = Annotated[list[str], Field(min_length=1, max_length=MOST_INPUTS)] | str
Logprob = tuple[str, float]  # a class's words, and how likely they are


class Question(BaseModel):
    """The body of a request. What is not listed is refused, so that nothing is promised that is not done."""

    model_config = ConfigDict(extra="forbid", strict=True)
    replies: ClassVar[type[BaseModel]]
    model: str | None = None

    def asks(self, served: ServedModel) -> Ask:
        """What is to be asked of the model: unless said otherwise, scores."""
        return served.query

    def inputs(self, served: ServedModel, limits: Limits) -> Inputs | Pictures:
        """What the model is to read.

        Raises:
            Refusal: it does not go with the model.
        """
        raise NotImplementedError

    def reply(self, served: ServedModel, answers: Answers) -> BaseModel:
        """The model's answers, as `replies`."""
        raise NotImplementedError


class Sampling(Question):
    """Settings of OpenAI's: the likeliest class is the answer, whatever the temperature."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    user: str | None = None
    n: Literal[1] | None = 1
    stream: Literal[False] | None = False


class Tokens(BaseModel):
    """What a reply took; 0 where the backend counts no tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, answers: Answers) -> "Tokens":
        """Those read and those written."""
        return cls(
            prompt_tokens=answers.tokens - answers.output_tokens,
            completion_tokens=answers.output_tokens,
            total_tokens=answers.tokens,
        )


class Reply(BaseModel):
    """The head of all that OpenAI calls a completion."""

    id: str = Field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = Field(default_factory=lambda: int(time.time()))
    model: str
    usage: Tokens


def parse(shape: type[Q], body: bytes) -> Q:
    """A question from the bytes of a body.

    Raises:
        Refusal: they are not JSON in UTF-8, not of that shape, or too many of it; none of the contents are in
            the message.
    """
    if next(islice(TOKENS.finditer(body), MOST_TOKENS, None), None):
        raise Refusal(413, f"a body holds at most {MOST_TOKENS:,} signs and texts of JSON; send fewer inputs at a time")
    try:
        return shape.model_validate_json(body)
    except ValidationError as e:
        errors = e.errors(include_input=False, include_url=False)
        worst = max(errors, key=lambda error: (_status(error), len(error["loc"])))
        param = str(worst["loc"][0]) if worst["loc"] else None
        message = worst["msg"][0].lower() + worst["msg"][1:]
        if worst["type"] == "extra_forbidden":
            message = "this service does not know this parameter; leave it out"
        sentence = f"{param}: {message}" if param else message
        raise Refusal(_status(worst), sentence, param=param, code=worst["type"]) from e


def _status(error: ErrorDetails) -> int:
    return 413 if error["type"] == "too_long" and error["ctx"]["max_length"] == MOST_INPUTS else 400


def listed(given: list[str] | str) -> list[str]:
    """One or several, as several."""
    return [given] if isinstance(given, str) else given


def inputs_of(served: ServedModel, given: list[str], limits: Limits) -> Inputs | Pictures:
    """Texts as the model reads them, or images in base64."""
    if served.reads_texts:
        return as_texts(given)
    return Pictures(given, served.info.input_size, limits.pixels)


def ranked(served: ServedModel, row: Float32) -> list[Logprob]:
    """The words of all classes with their log-probabilities (C,), the likeliest first; empty without an answer."""
    if np.isnan(row).any():
        return []
    finite = np.where(np.isneginf(row), np.float32(UNLIKELY), row)
    order = np.argsort(-finite, kind="stable").tolist()
    return [(served.words[i], finite[i].item()) for i in order]
