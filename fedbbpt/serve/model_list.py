"""`GET /v1/models`: what clients may know about the served model."""

from typing import Literal

from pydantic import BaseModel

from fedbbpt.serve.model import ServedModel


class ModelCard(BaseModel):
    """The served model: its inputs, its classes, and the words for them."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["fedbbpt"] = "fedbbpt"
    modality: Literal["image", "text"]
    input_size: tuple[int, int] | None
    classes: list[str]
    label_words: list[str]
    score_type: str
    max_batch: int
    embeddings: bool

    @classmethod
    def of(cls, model: ServedModel, created: int) -> "ModelCard":
        """The card of a model that is served since `created`, in seconds since the epoch."""
        return cls(
            id=model.info.model,
            created=created,
            modality="text" if model.reads_texts else "image",
            input_size=model.info.input_size,
            classes=list(model.info.classes),
            label_words=list(model.label_words),
            score_type=model.info.scores,
            max_batch=model.info.max_batch,
            embeddings=model.features is not None,
        )


class ModelList(BaseModel):
    """All served models, of which there is one."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
