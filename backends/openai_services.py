"""Services of the OpenAI API: label words scored or generated, and embeddings of texts."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedbbpt.services import NO_SCORES, RequestRejected, ServiceAnswer, TokenEstimate
from fedbbpt.types import Float32
from fedbbpt_backends import answer_parsing
from fedbbpt_backends.http_utils import CHAT_OVERHEAD, PNG, base64_png
from fedbbpt_backends.label_scores import label_scores, names_no_class, starts_with_control_token
from fedbbpt_backends.openai_requests import Ask, Capabilities, CountedAnswer, Endpoint, embeddings, parse_response
from fedbbpt_backends.template import Template

log = logging.getLogger("fedbbpt")

CHARS_PER_TOKEN = 4  # roughly
EXTRA_TOKENS = 4  # that an answer may take beyond the longest label word
IMAGE_TOKENS, MAX_IMAGE_TOKENS = 255, 6000  # typical, for one tile; the most of any known model


class VerbalizerService:
    """Scores the label words as the next token, or, without log-probabilities, parses the generated answer."""

    def __init__(
        self,
        endpoint: Endpoint,
        identity: Mapping[str, Any],
        ask: Ask,
        template: Template,
        words: tuple[str, ...],
        capabilities: Capabilities,
        batch: int,
        max_answer_tokens: int | None = None,
    ) -> None:
        self._max_tokens = (
            1 if capabilities.top_logprobs else max_answer_tokens or EXTRA_TOKENS + max(map(_max_word_tokens, words))
        )
        settings = {
            "words": words,
            "logprobs": capabilities.top_logprobs,
            "written": self._max_tokens,
            "question": endpoint.question,
        }
        self.identity = {**identity, **settings, "temperature": capabilities.temperature}
        self.max_inputs_per_request = batch
        self._endpoint, self._ask, self._template = endpoint, ask, template
        self._words, self._capabilities, self._missed = words, capabilities, False

    def encode(self, one: str | Float32) -> str:
        """A text in the template; an image as an 8-bit PNG in a data URI."""
        return self._template.render(one) if isinstance(one, str) else PNG + base64_png(one)

    def estimate_tokens(self, encoded: str) -> TokenEstimate:
        """See `Service`."""
        if encoded.startswith(PNG):
            return TokenEstimate(IMAGE_TOKENS, self._max_tokens, MAX_IMAGE_TOKENS)
        return TokenEstimate(
            len(encoded) // CHARS_PER_TOKEN + CHAT_OVERHEAD, self._max_tokens, len(encoded.encode()) + CHAT_OVERHEAD
        )

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`."""

        def ask() -> list[ServiceAnswer]:
            return [
                self._reply(one)
                for one in self._ask(self._endpoint, encoded, self._capabilities, self._max_tokens, key)
            ]

        return parse_response(ask)

    def _reply(self, counted: CountedAnswer) -> ServiceAnswer:
        answer = counted.answer
        if answer is None:
            return ServiceAnswer(np.full(len(self._words), np.nan, np.float32))
        if answer.text is None:
            reply = NO_SCORES
        elif self._capabilities.top_logprobs and answer.top and not starts_with_control_token(answer.top):
            unparsed = int(names_no_class(answer.top, self._words))
            reply = ServiceAnswer(label_scores(answer.top, self._words), unparsed=unparsed)
        elif self._capabilities.top_logprobs:
            reply = self._without_logprobs(answer.text)
        else:
            reply = self._parse(answer.text)
        return reply._replace(tokens=counted.tokens, output_tokens=counted.output_tokens)

    def _without_logprobs(self, token: str) -> ServiceAnswer:
        """The class of an answer's only token, if expected log-probabilities are missing."""
        if not self._missed:
            self._missed = True
            log.warning(
                "%s sends some answers without log-probabilities: for these, the token itself counts",
                self._endpoint.model,
            )
        number = answer_parsing.token_label(token, self._words)
        return self._parse(token if number is None else self._words[number])

    def _parse(self, text: str) -> ServiceAnswer:
        read = answer_parsing.parse_answers([text], self._words)
        return ServiceAnswer(read.scores[0], unparsed=read.unparsed)


class ProbeService(VerbalizerService):
    """Tests whether the model returns log-probabilities: an answer without them has no scores."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.identity = {**self.identity, "probe": True}

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`; any rejection is one of the request's form, since other parameters may be accepted."""
        try:
            return super().send(encoded, key)
        except RequestRejected as e:
            raise RequestRejected(str(e)) from e

    def _without_logprobs(self, token: str) -> ServiceAnswer:
        return NO_SCORES


class EmbeddingService:
    """Requests the embeddings of texts."""

    def __init__(self, endpoint: Endpoint, identity: Mapping[str, Any], batch: int) -> None:
        self.identity, self.max_inputs_per_request, self._endpoint = identity, batch, endpoint

    def encode(self, one: str) -> str:
        """The text with its prompt."""
        return str(one)

    def estimate_tokens(self, encoded: str) -> TokenEstimate:
        """See `Service`."""
        return TokenEstimate(len(encoded) // CHARS_PER_TOKEN + 1, 0, len(encoded.encode()) + CHAT_OVERHEAD)

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`."""
        return parse_response(lambda: embeddings(self._endpoint, encoded, key))


def _max_word_tokens(word: str) -> int:
    """An upper estimate of the tokens in a label word."""
    return max(2 * len(word.split()), -(-len(word.encode()) // CHARS_PER_TOKEN))
