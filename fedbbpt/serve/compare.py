"""`POST /v1/compare`: what the model says of an input without the tuned prompt and head, and with them."""

import base64
from io import BytesIO
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from fedbbpt.backend import BackendOutput
from fedbbpt.data.texts import as_texts
from fedbbpt.serve import RequestLimits
from fedbbpt.serve.batching import ModelQuery
from fedbbpt.serve.images import EncodedImages
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import ApiRequest, decode_inputs
from fedbbpt.types import Float32, Inputs

MOST = 16  # inputs of a request: the answer holds pictures


class Comparison(BaseModel):
    """One input: the classes' probabilities, null where the model did not answer; and what it read."""

    before: dict[str, float] | None
    after: dict[str, float] | None
    prompted: str = Field(description="the text under the first prompt, or the picture, as a data: URI of a PNG file")


class CompareResponse(BaseModel):
    """All inputs in their order."""

    model: str
    comparisons: list[Comparison]


class CompareRequest(ApiRequest):
    """Texts, or PNG or JPEG images in base64, compared before and after tuning; each is asked under all prompts."""

    response_schema: ClassVar[type[BaseModel]] = CompareResponse
    inputs: Annotated[list[str], Field(min_length=1, max_length=MOST)]

    def model_query(self, model: ServedModel) -> ModelQuery:
        """See `ApiRequest.model_query`."""
        assert model.compare is not None  # the route is there for tuned models alone
        return model.compare

    def read_inputs(self, model: ServedModel, limits: RequestLimits) -> Inputs | EncodedImages:
        """See `ApiRequest.read_inputs`."""
        return decode_inputs(model, self.inputs, limits)

    def respond(self, model: ServedModel, output: BackendOutput) -> CompareResponse:
        """See `ApiRequest.respond`."""
        parts = Parts.of(output.scores, len(model.info.classes))
        if model.reads_texts:
            assert model.tuned is not None  # as above
            prompted = [str(one) for one in model.tuned.prompted(as_texts(self.inputs))[:, 0]]
        else:
            prompted = [_png(row.reshape(3, *(model.info.input_size or ()))) for row in parts.pictures]
        rows = zip(parts.before, parts.after, prompted, strict=True)
        found = [Comparison(before=_named(model, b), after=_named(model, a), prompted=p) for b, a, p in rows]
        return CompareResponse(model=model.info.model, comparisons=found)


class Parts(NamedTuple):
    """The columns of what `ServedModel.compare` gives: one batch, for one thread."""

    before: Float32  # (b, K) log-probabilities
    after: Float32  # (b, K)
    pictures: Float32  # (b, 3·h·w), under the first prompt; (b, 0) for texts

    @classmethod
    def of(cls, rows: Float32, classes: int) -> "Parts":
        """Splits rows (b, 2·K + 3·h·w)."""
        return cls(rows[:, :classes], rows[:, classes : 2 * classes], rows[:, 2 * classes :])


def _named(model: ServedModel, log_p: Float32) -> dict[str, float] | None:
    if np.isnan(log_p).any():
        return None
    return dict(zip(model.info.classes, np.exp(log_p.astype(np.float64)).tolist(), strict=True))


def _png(picture: Float32) -> str:
    file = BytesIO()
    Image.fromarray(np.rint(255 * picture).astype(np.uint8).transpose(1, 2, 0)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
