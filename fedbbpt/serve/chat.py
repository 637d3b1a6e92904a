"""`POST /v1/chat/completions`: messages with texts or an image are answered with the label words of one class."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from fedbbpt.backend import BackendOutput
from fedbbpt.serve import MAX_INPUTS, HttpError, RequestLimits
from fedbbpt.serve.images import EncodedImages
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import (
    MAX_LOGPROBS,
    CompletionBase,
    CompletionRequestBase,
    CompletionUsage,
    WordLogprob,
    decode_inputs,
    ranked_words,
)
from fedbbpt.types import Inputs


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_StrictModel):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ImageUrl(_StrictModel):
    """A data: URI with an image; other URLs are never fetched."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(_StrictModel):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


ContentPart = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class ChatMessage(_StrictModel):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[ContentPart], Field(max_length=MAX_INPUTS)] | str
    name: str | None = None

    @property
    def text(self) -> str:
        """All text parts, one per line."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def image_urls(self) -> list[str]:
        """The URLs of all images."""
        parts = [] if isinstance(self.content, str) else self.content
        return [part.image_url.url for part in parts if isinstance(part, ImagePart)]


class TokenLogprob(BaseModel):
    """The label words of one class, which count as one token."""

    token: str
    logprob: float
    bytes: list[int]

    @classmethod
    def of(cls, word: WordLogprob) -> "TokenLogprob":
        """The label words as OpenAI describes a token."""
        token, logprob = word
        return cls(token=token, logprob=logprob, bytes=list(token.encode()))


class ChosenTokenLogprob(TokenLogprob):
    """The most likely token, with the alternatives that were asked for."""

    top_logprobs: list[TokenLogprob]


class ChatLogprobs(BaseModel):
    """Log-probabilities of an answer's one token."""

    content: list[ChosenTokenLogprob]
    refusal: None = None


class AssistantMessage(BaseModel):
    """The model's answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """The one answer; `finish_reason` is `content_filter` if the model did not answer."""

    index: Literal[0] = 0
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "content_filter"]


class ChatCompletion(CompletionBase):
    """The response to a chat."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]


class ChatRequest(CompletionRequestBase):
    """A chat. The model reads the text of all messages, joined by blank lines; or exactly one image, and no text."""

    response_schema: ClassVar[type[BaseModel]] = ChatCompletion
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_INPUTS)]
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None

    def read_inputs(self, model: ServedModel, limits: RequestLimits) -> Inputs | EncodedImages:
        """See `ApiRequest.read_inputs`."""
        urls = [url for message in self.messages for url in message.image_urls]
        if model.reads_texts and urls:
            raise HttpError(400, "this model reads texts: leave out the images", param="messages")
        if model.reads_texts:
            return decode_inputs(model, ["\n\n".join(message.text for message in self.messages)], limits)
        if len(urls) != 1:
            raise HttpError(400, f"this model reads exactly one image, and got {len(urls)}", param="messages")
        if not urls[0].startswith("data:"):
            raise HttpError(400, "URLs are not fetched: send the image as data:image/png;base64,…", param="messages")
        return decode_inputs(model, urls, limits)

    def respond(self, model: ServedModel, output: BackendOutput) -> ChatCompletion:
        """See `ApiRequest.respond`."""
        words = ranked_words(model, model.log_probabilities(output.scores)[0])
        choice = ChatChoice(message=AssistantMessage(content=""), logprobs=None, finish_reason="content_filter")
        if words:
            logprobs = self._logprobs([TokenLogprob.of(word) for word in words]) if self.logprobs else None
            message = AssistantMessage(content=words[0][0])
            choice = ChatChoice(message=message, logprobs=logprobs, finish_reason="stop")
        return ChatCompletion(model=model.info.model, usage=CompletionUsage.of(output), choices=[choice])

    def _logprobs(self, tokens: list[TokenLogprob]) -> ChatLogprobs:
        top = tokens[: self.top_logprobs or 0]
        return ChatLogprobs(content=[ChosenTokenLogprob(**tokens[0].model_dump(), top_logprobs=top)])
