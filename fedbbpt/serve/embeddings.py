"""`POST /v1/embeddings`: the features of a model that has some."""

import base64
from typing import ClassVar, Literal

from pydantic import BaseModel

from fedbbpt.backend import Answers
from fedbbpt.serve import Limits, Refusal
from fedbbpt.serve.batching import Ask
from fedbbpt.serve.images import Pictures
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import Question, Texts, inputs_of, listed
from fedbbpt.types import Inputs


class Embedding(BaseModel):
    """One input's features: numbers, or float32, little-endian, in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingTokens(BaseModel):
    """What a reply took; 0 where the model counts no tokens."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """The features of each input."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingTokens


class Embed(Question):
    """Texts, or PNG or JPEG images in base64."""

    replies: ClassVar[type[BaseModel]] = Embeddings
    input: Texts
    encoding_format: Literal["float", "base64"] | None = "float"
    user: str | None = None

    def asks(self, served: ServedModel) -> Ask:
        """Features."""
        if served.features is None:
            raise Refusal(400, "this model has no embeddings: ask for its scores by /v1/classify")
        return served.features

    def inputs(self, served: ServedModel, limits: Limits) -> Inputs | Pictures:
        """See `Question`."""
        return inputs_of(served, listed(self.input), limits)

    def reply(self, served: ServedModel, answers: Answers) -> Embeddings:
        """See `Question`."""
        rows = answers.scores.astype("<f4", copy=False)
        coded = [base64.b64encode(row.tobytes()).decode() for row in rows] if self._in_base64 else rows.tolist()
        return Embeddings.model_construct(
            data=[Embedding.model_construct(index=index, embedding=one) for index, one in enumerate(coded)],
            model=served.info.model,
            usage=EmbeddingTokens(prompt_tokens=answers.tokens, total_tokens=answers.tokens),
        )

    @property
    def _in_base64(self) -> bool:
        return self.encoding_format == "base64"
