"""`POST /v1/chat/completions`: a message that holds a text or an image is answered with the words of one class."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from fedbbpt.backend import Answers
from fedbbpt.serve import MOST_INPUTS, Limits, Refusal
from fedbbpt.serve.images import Pictures
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import MOST_LOGPROBS, Logprob, Reply, Sampling, Tokens, inputs_of, ranked
from fedbbpt.types import Inputs


class Strict(BaseModel):
    """A part of a question."""

    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(Strict):
    """Text of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(Strict):
    """A data: URI; nothing is fetched."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Strict):
    """An image of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(Strict):
    """What somebody said."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], Field(max_length=MOST_INPUTS)] | str
    name: str | None = None

    @property
    def text(self) -> str:
        """All its text."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> list[str]:
        """The URLs of all its images."""
        parts = [] if isinstance(self.content, str) else self.content
        return [part.image_url.url for part in parts if isinstance(part, ImagePart)]


class Token(BaseModel):
    """A class's words, which are one token here."""

    token: str
    logprob: float
    bytes: list[int]

    @classmethod
    def of(cls, one: Logprob) -> "Token":
        """The words as they are said."""
        word, logprob = one
        return cls(token=word, logprob=logprob, bytes=list(word.encode()))


class ChosenToken(Token):
    """The likeliest one, with the likeliest ones in its place."""

    top_logprobs: list[Token]


class ChatLogprobs(BaseModel):
    """Of the one token of an answer."""

    content: list[ChosenToken]
    refusal: None = None


class Answer(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Chosen(BaseModel):
    """The one answer: `content_filter` where the model did not answer."""

    index: Literal[0] = 0
    message: Answer
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "content_filter"]


class ChatCompletion(Reply):
    """The answer to a chat."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[Chosen]


class Chat(Sampling):
    """The text of all messages, joined by blank lines; or exactly one image, and no text is read."""

    replies: ClassVar[type[BaseModel]] = ChatCompletion
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_INPUTS)]
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None

    def inputs(self, served: ServedModel, limits: Limits) -> Inputs | Pictures:
        """See `Question`."""
        images = [url for message in self.messages for url in message.images]
        if served.reads_texts and images:
            raise Refusal(400, "this model reads texts: leave out the images", param="messages")
        if served.reads_texts:
            return inputs_of(served, ["\n\n".join(message.text for message in self.messages)], limits)
        if len(images) != 1:
            raise Refusal(400, f"this model reads exactly one image, and there are {len(images)}", param="messages")
        if not images[0].startswith("data:"):
            raise Refusal(400, "no URL is fetched: send the image as data:image/png;base64,…", param="messages")
        return inputs_of(served, images, limits)

    def reply(self, served: ServedModel, answers: Answers) -> ChatCompletion:
        """See `Question`."""
        words = ranked(served, served.log_probabilities(answers.scores)[0])
        choice = Chosen(message=Answer(content=""), logprobs=None, finish_reason="content_filter")
        if words:
            logprobs = self._logprobs([Token.of(word) for word in words]) if self.logprobs else None
            choice = Chosen(message=Answer(content=words[0][0]), logprobs=logprobs, finish_reason="stop")
        return ChatCompletion(model=served.info.model, usage=Tokens.of(answers), choices=[choice])

    def _logprobs(self, tokens: list[Token]) -> ChatLogprobs:
        top = tokens[: self.top_logprobs or 0]
        return ChatLogprobs(content=[ChosenToken(**tokens[0].model_dump(), top_logprobs=top)])
