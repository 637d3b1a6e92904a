"""`POST /v1/classify`: the backend's own scores, bit for bit."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fedbbpt.backend import Answers
from fedbbpt.data.texts import as_texts
from fedbbpt.serve import MOST_INPUTS, Limits, Refusal
from fedbbpt.serve.images import Pictures
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import Question, inputs_of
from fedbbpt.types import Inputs, Prompted


class PromptedText(BaseModel):
    """A text with its prompt in parts, so that the model can cut the text alone (`fedbbpt.types.Prompted`)."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str
    before: str = ""
    after: str = ""
    examples: list[tuple[str, str]] = Field([], description="texts with their answers")


class Asked(BaseModel):
    """What a reply took."""

    queries: int
    tokens: int
    output_tokens: int = Field(description="of the tokens, the model's own")


class Scores(BaseModel):
    """Scores of the classes, a row an input; null for an input that the model did not answer."""

    model: str
    classes: list[str]
    scores: list[list[float] | None]
    kind: str = Field(description="logits, log-probabilities or probabilities")
    usage: Asked


class Classify(Question):
    """Texts, with their prompts in parts or not; or PNG or JPEG images in base64."""

    replies: ClassVar[type[BaseModel]] = Scores
    inputs_: Annotated[list[str | PromptedText], Field(alias="inputs", min_length=1, max_length=MOST_INPUTS)]

    def inputs(self, served: ServedModel, limits: Limits) -> Inputs | Pictures:
        """See `Question`."""
        plain = [one for one in self.inputs_ if isinstance(one, str)]
        if len(plain) == len(self.inputs_):
            return inputs_of(served, plain, limits)
        if not served.reads_texts:
            raise Refusal(400, "this model reads images: send each as a PNG or JPEG file in base64", param="inputs")
        return as_texts([one if isinstance(one, str) else _prompted(one) for one in self.inputs_])

    def reply(self, served: ServedModel, answers: Answers) -> Scores:
        """See `Question`; an infinite score becomes the largest float32, since JSON has no infinity."""
        finite = np.nan_to_num(answers.scores, nan=np.nan)
        return Scores.model_construct(
            model=served.info.model,
            classes=list(served.info.classes),
            scores=[None if np.isnan(row).any() else row.tolist() for row in finite],
            kind=served.info.scores,
            usage=Asked(queries=len(finite), tokens=answers.tokens, output_tokens=answers.output_tokens),
        )


def _prompted(one: PromptedText) -> Prompted:
    return Prompted(one.text, one.before, one.after, None, tuple(one.examples))
