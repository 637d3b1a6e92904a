"""`POST /v1/classify`: the backend's own scores, bit for bit."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fedbbpt.backend import BackendOutput
from fedbbpt.data.texts import as_texts
from fedbbpt.serve import MAX_INPUTS, HttpError, RequestLimits
from fedbbpt.serve.images import EncodedImages
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import ApiRequest, decode_inputs
from fedbbpt.types import Inputs, Prompted


class PromptedText(BaseModel):
    """A text apart from its prompt, so that the model can truncate the text alone (`fedbbpt.types.Prompted`)."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str
    prefix: str = ""
    suffix: str = ""
    examples: list[tuple[str, str]] = Field([], description="few-shot examples: pairs of a text and its answer")


class ClassifyUsage(BaseModel):
    """What the request cost; tokens are 0 where the backend does not count them."""

    queries: int
    tokens: int = Field(description="read and written")
    output_tokens: int = Field(description="written")


class ClassifyResponse(BaseModel):
    """One row of class scores per input; null for an input that the model did not answer."""

    model: str
    classes: list[str]
    scores: list[list[float] | None]
    score_type: str = Field(description="logits, log-probabilities or probabilities")
    usage: ClassifyUsage


class ClassifyRequest(ApiRequest):
    """Texts, with or without prompts; or PNG or JPEG images in base64."""

    response_schema: ClassVar[type[BaseModel]] = ClassifyResponse
    inputs: Annotated[list[str | PromptedText], Field(min_length=1, max_length=MAX_INPUTS)]

    def read_inputs(self, model: ServedModel, limits: RequestLimits) -> Inputs | EncodedImages:
        """See `ApiRequest.read_inputs`."""
        plain = [one for one in self.inputs if isinstance(one, str)]
        if len(plain) == len(self.inputs):
            return decode_inputs(model, plain, limits)
        if not model.reads_texts:
            raise HttpError(400, "this model reads images: send each as a PNG or JPEG file in base64", param="inputs")
        return as_texts([one if isinstance(one, str) else _as_prompted(one) for one in self.inputs])

    def respond(self, model: ServedModel, output: BackendOutput) -> ClassifyResponse:
        """See `ApiRequest.respond`. An infinite score becomes the largest float32, since JSON has no infinity."""
        finite = np.nan_to_num(output.scores, nan=np.nan)
        return ClassifyResponse.model_construct(
            model=model.info.model,
            classes=list(model.info.classes),
            scores=[None if np.isnan(row).any() else row.tolist() for row in finite],
            score_type=model.info.scores,
            usage=ClassifyUsage(queries=len(finite), tokens=output.tokens, output_tokens=output.output_tokens),
        )


def _as_prompted(one: PromptedText) -> Prompted:
    return Prompted(one.text, one.prefix, one.suffix, None, tuple(one.examples))
