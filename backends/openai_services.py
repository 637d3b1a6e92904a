"""Services of the OpenAI API: classes by words, and vectors of texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedbbpt import label_matching
from fedbbpt.errors import BackendError
from fedbbpt.remote import Reply, Size
from fedbbpt.types import Float32
from fedbbpt_backends.label_scores import names_none, scores_of
from fedbbpt_backends.openai_requests import Abilities, Answer, Ask, Endpoint, embeddings, understood
from fedbbpt_backends.template import Template
from fedbbpt_backends.wire import PNG, base64_png

LETTERS = 4  # of a text for each token, about
AROUND = 16  # tokens that a service puts around what is asked
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
        abilities: Abilities,
        batch: int,
    ) -> None:
        self._most = 1 if abilities.logprobs else 4 + 2 * max(len(word.split()) for word in words)
        told = {"words": words, "logprobs": abilities.logprobs, "written": self._most, "question": endpoint.question}
        self.identity = {**identity, **told, "temperature": endpoint.temperature}
        self.request_limit = batch
        self._endpoint, self._ask, self._template = endpoint, ask, template
        self._words, self._abilities = words, abilities

    def encode(self, one: str | Float32) -> str:
        """A text in the template; an image as 8-bit PNG."""
        return self._template.whole(one) if isinstance(one, str) else PNG + base64_png(one)

    def size(self, encoded: str) -> Size:
        """See `Service`."""
        if encoded.startswith(PNG):
            return Size(IMAGE, self._most, LARGEST_IMAGE)
        return Size(len(encoded) // LETTERS + AROUND, self._most, len(encoded.encode()) + AROUND)

    def send(self, encoded: Sequence[str], key: str) -> list[Reply]:
        """See `Service`."""

        def ask() -> list[Reply]:
            return [self._reply(one) for one in self._ask(self._endpoint, encoded, self._abilities, self._most, key)]

        return understood(ask)

    def _reply(self, answer: Answer) -> Reply:
        if answer.text is None:
            return Reply(np.full(len(self._words), np.nan, np.float32), answer.tokens, answer.written)
        if not self._abilities.logprobs:
            read = label_matching.read([answer.text], self._words)
            return Reply(read.scores[0], answer.tokens, answer.written, read.unmatched)
        if not answer.top:
            raise BackendError("the service sends no log-probabilities; use -o backend.logprobs=0")
        unmatched = int(names_none(answer.top, self._words))
        return Reply(scores_of(answer.top, self._words), answer.tokens, answer.written, unmatched)


class Vectors:
    """Embeddings of texts."""

    def __init__(self, endpoint: Endpoint, identity: Mapping[str, Any], batch: int) -> None:
        self.identity, self.request_limit, self._endpoint = identity, batch, endpoint

    def encode(self, one: str) -> str:
        """The text with its prompt."""
        return str(one)

    def size(self, encoded: str) -> Size:
        """See `Service`."""
        return Size(len(encoded) // LETTERS + 1, 0, len(encoded.encode()) + AROUND)

    def send(self, encoded: Sequence[str], key: str) -> list[Reply]:
        """See `Service`."""
        return understood(lambda: embeddings(self._endpoint, encoded, key))
