"""`POST /v1/completions`: the black box goes on with the words of one class."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, PositiveInt

from fedbbpt.backend import Answers
from fedbbpt.data.texts import as_texts
from fedbbpt.serve import Limits, Refusal
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import MOST_LOGPROBS, Logprob, Reply, Sampling, Texts, Tokens, listed, ranked
from fedbbpt.types import Inputs


class Logprobs(BaseModel):
    """Of the one token that a class's words are here, and of the likeliest ones in its place."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class Completed(BaseModel):
    """What follows one prompt: `content_filter` where the model did not answer."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "content_filter"]


class Completion(Reply):
    """What follows each prompt."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[Completed]


class Complete(Sampling):
    """One prompt or several; a class's words count as one token."""

    replies: ClassVar[type[BaseModel]] = Completion
    prompt: Texts
    max_tokens: PositiveInt | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    echo: Literal[False] | None = False
    best_of: Literal[1] | None = 1

    def inputs(self, served: ServedModel, limits: Limits) -> Inputs:
        """See `Question`."""
        if not served.reads_texts:
            raise Refusal(400, "this model reads images: ask it by /v1/chat/completions or /v1/classify")
        return as_texts(listed(self.prompt))

    def reply(self, served: ServedModel, answers: Answers) -> Completion:
        """See `Question`."""
        rows = served.log_probabilities(answers.scores)
        prompts = listed(self.prompt)
        choices = [
            self._choice(index, ranked(served, row), len(prompt))
            for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
        ]
        return Completion(model=served.info.model, usage=Tokens.of(answers), choices=choices)

    def _choice(self, index: int, words: list[Logprob], offset: int) -> Completed:
        if not words:
            return Completed(index=index, text="", logprobs=None, finish_reason="content_filter")
        tokens = [(f" {word}", logprob) for word, logprob in words]
        text, logprob = tokens[0]
        if self.logprobs is None:
            return Completed(index=index, text=text, logprobs=None, finish_reason="stop")
        top: dict[str, float] = {}
        for other, its in tokens[: self.logprobs]:
            top.setdefault(other, its)  # of two classes with the same words, the likelier one
        logprobs = Logprobs(tokens=[text], token_logprobs=[logprob], top_logprobs=[top], text_offset=[offset])
        return Completed(index=index, text=text, logprobs=logprobs, finish_reason="stop")
