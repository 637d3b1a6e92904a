"""`POST /v1/completions`: each prompt is completed with the label words of the most likely class."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, PositiveInt

from fedbbpt.backend import BackendOutput
from fedbbpt.data.texts import as_texts
from fedbbpt.serve import HttpError, RequestLimits
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import (
    MAX_LOGPROBS,
    CompletionBase,
    CompletionRequestBase,
    CompletionUsage,
    Texts,
    WordLogprob,
    as_list,
    ranked_words,
)
from fedbbpt.types import Inputs


class CompletionLogprobs(BaseModel):
    """Log-probabilities of the one token that a class's label words count as, and of its most likely alternatives."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """The completion of one prompt; `finish_reason` is `content_filter` if the model did not answer."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "content_filter"]


class Completion(CompletionBase):
    """The completions of all prompts."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[CompletionChoice]


class CompletionRequest(CompletionRequestBase):
    """One or several prompts; each class's label words count as one token."""

    response_schema: ClassVar[type[BaseModel]] = Completion
    prompt: Texts
    max_tokens: PositiveInt | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: Literal[False] | None = False
    best_of: Literal[1] | None = 1

    def read_inputs(self, model: ServedModel, limits: RequestLimits) -> Inputs:
        """See `ApiRequest.read_inputs`."""
        if not model.reads_texts:
            raise HttpError(400, "this model reads images: use /v1/chat/completions or /v1/classify")
        return as_texts(as_list(self.prompt))

    def respond(self, model: ServedModel, output: BackendOutput) -> Completion:
        """See `ApiRequest.respond`."""
        answers = zip(model.log_probabilities(output.scores), as_list(self.prompt), strict=True)
        choices = [self._choice(i, ranked_words(model, row), len(prompt)) for i, (row, prompt) in enumerate(answers)]
        return Completion(model=model.info.model, usage=CompletionUsage.of(output), choices=choices)

    def _choice(self, index: int, words: list[WordLogprob], offset: int) -> CompletionChoice:
        if not words:
            return CompletionChoice(index=index, text="", logprobs=None, finish_reason="content_filter")
        tokens = [(f" {word}", logprob) for word, logprob in words]
        text, logprob = tokens[0]
        if self.logprobs is None:
            return CompletionChoice(index=index, text=text, logprobs=None, finish_reason="stop")
        top: dict[str, float] = {}
        for token, token_logprob in tokens[: self.logprobs]:
            top.setdefault(token, token_logprob)  # the more likely of two classes with the same label words
        logprobs = CompletionLogprobs(tokens=[text], token_logprobs=[logprob], top_logprobs=[top], text_offset=[offset])
        return CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason="stop")
