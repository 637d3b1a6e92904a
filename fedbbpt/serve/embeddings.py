"""`POST /v1/embeddings`: the features of a model that has some."""

import base64
from typing import ClassVar, Literal

from pydantic import BaseModel

from fedbbpt.backend import BackendOutput
from fedbbpt.serve import HttpError, RequestLimits
from fedbbpt.serve.batching import ModelQuery
from fedbbpt.serve.images import EncodedImages
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import ApiRequest, Texts, as_list, decode_inputs
from fedbbpt.types import Inputs


class Embedding(BaseModel):
    """The features of one input: as numbers, or as little-endian float32 in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens read; 0 where the model does not count them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingResponse(BaseModel):
    """The features of all inputs."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class EmbeddingRequest(ApiRequest):
    """Texts, or PNG or JPEG images in base64."""

    response_schema: ClassVar[type[BaseModel]] = EmbeddingResponse
    input: Texts
    encoding_format: Literal["float", "base64"] | None = "float"
    user: str | None = None

    def model_query(self, model: ServedModel) -> ModelQuery:
        """See `ApiRequest.model_query`: features in place of scores."""
        if model.features is None:
            raise HttpError(400, "this model has no embeddings: use /v1/classify for its scores")
        return model.features

    def read_inputs(self, model: ServedModel, limits: RequestLimits) -> Inputs | EncodedImages:
        """See `ApiRequest.read_inputs`."""
        return decode_inputs(model, as_list(self.input), limits)

    def respond(self, model: ServedModel, output: BackendOutput) -> EmbeddingResponse:
        """See `ApiRequest.respond`."""
        rows = output.scores.astype("<f4", copy=False)
        in_base64 = self.encoding_format == "base64"
        encoded = [base64.b64encode(row.tobytes()).decode() for row in rows] if in_base64 else rows.tolist()
        return EmbeddingResponse.model_construct(
            data=[Embedding.model_construct(index=index, embedding=one) for index, one in enumerate(encoded)],
            model=model.info.model,
            usage=EmbeddingUsage(prompt_tokens=output.tokens, total_tokens=output.tokens),
        )
