"""Services of the OpenAI API: classes by words, and vectors of texts."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedbbpt.services import NO_SCORES, RequestRejected, ServiceAnswer, TokenEstimate
from fedbbpt.types import Float32
from fedbbpt_backends import answer_parsing
from fedbbpt_backends.http_utils import CHAT_OVERHEAD, PNG, base64_png
from fedbbpt_backends.label_scores import label_scores, names_no_class, starts_with_control_token
from fedbbpt_backends.openai_requests import Ask, Capabilities, Endpoint, Told, embeddings, parse_response
from fedbbpt_backends.template import Template

log = logging.getLogger("fedbbpt")

LETTERS = 4  # of a text for each token, about
MORE = 4  # tokens that an answer may take beyond the longest name of a class
IMAGE, LARGEST_IMAGE = 255, 6000  # tokens that are read of an image: about, in one tile; at most, by any known model


class Words:
    """How likely the words of each class are to come next; where the model does not tell, which of them it writes."""

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
        self._most = 1 if capabilities.top_logprobs else max_answer_tokens or MORE + max(map(_tokens, words))
        told = {
            "words": words,
            "logprobs": capabilities.top_logprobs,
            "written": self._most,
            "question": endpoint.question,
        }
        self.identity = {**identity, **told, "temperature": capabilities.temperature}
        self.max_inputs_per_request = batch
        self._endpoint, self._ask, self._template = endpoint, ask, template
        self._words, self._capabilities, self._missed = words, capabilities, False

    def encode(self, one: str | Float32) -> str:
        """A text in the template; an image as 8-bit PNG."""
        return self._template.render(one) if isinstance(one, str) else PNG + base64_png(one)

    def estimate_tokens(self, encoded: str) -> TokenEstimate:
        """See `Service`."""
        if encoded.startswith(PNG):
            return TokenEstimate(IMAGE, self._most, LARGEST_IMAGE)
        return TokenEstimate(len(encoded) // LETTERS + CHAT_OVERHEAD, self._most, len(encoded.encode()) + CHAT_OVERHEAD)

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`."""

        def ask() -> list[ServiceAnswer]:
            return [self._reply(one) for one in self._ask(self._endpoint, encoded, self._capabilities, self._most, key)]

        return parse_response(ask)

    def _reply(self, told: Told) -> ServiceAnswer:
        answer = told.answer
        if answer is None:
            return ServiceAnswer(np.full(len(self._words), np.nan, np.float32))
        if answer.text is None:
            reply = NO_SCORES
        elif self._capabilities.top_logprobs and answer.top and not starts_with_control_token(answer.top):
            unparsed = int(names_no_class(answer.top, self._words))
            reply = ServiceAnswer(label_scores(answer.top, self._words), unparsed=unparsed)
        elif self._capabilities.top_logprobs:
            reply = self._without(answer.text)
        else:
            reply = self._read(answer.text)
        return reply._replace(tokens=told.tokens, output_tokens=told.output_tokens)

    def _without(self, token: str) -> ServiceAnswer:
        """Of an answer that should have log-probabilities of a class, and has none: what its one token says."""
        if not self._missed:
            self._missed = True
            log.warning(
                "%s sends answers without log-probabilities of a class: of these, the word counts", self._endpoint.model
            )
        number = answer_parsing.token_label(token, self._words)
        return self._read(token if number is None else self._words[number])

    def _read(self, text: str) -> ServiceAnswer:
        read = answer_parsing.parse_answers([text], self._words)
        return ServiceAnswer(read.scores[0], unparsed=read.unparsed)


class Probe(Words):
    """The same, to find out whether the model tells what it is asked for; without it, there are no scores."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.identity = {**self.identity, "probe": True}

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`; whatever is refused, something else may be taken."""
        try:
            return super().send(encoded, key)
        except RequestRejected as e:
            raise RequestRejected(str(e)) from e

    def _without(self, token: str) -> ServiceAnswer:
        return NO_SCORES


class Vectors:
    """Embeddings of texts."""

    def __init__(self, endpoint: Endpoint, identity: Mapping[str, Any], batch: int) -> None:
        self.identity, self.max_inputs_per_request, self._endpoint = identity, batch, endpoint

    def encode(self, one: str) -> str:
        """The text with its prompt."""
        return str(one)

    def estimate_tokens(self, encoded: str) -> TokenEstimate:
        """See `Service`."""
        return TokenEstimate(len(encoded) // LETTERS + 1, 0, len(encoded.encode()) + CHAT_OVERHEAD)

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """See `Service`."""
        return parse_response(lambda: embeddings(self._endpoint, encoded, key))


def _tokens(word: str) -> int:
    """Of the name of a class, generously."""
    return max(2 * len(word.split()), -(-len(word.encode()) // LETTERS))
