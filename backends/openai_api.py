"""A model behind the OpenAI API, or one that speaks as it does: texts or images in, class scores out, for money."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from fedbbpt.backend import Answers, BackendInfo, Modality, Provider, usage
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.remote import Service
from fedbbpt.remote.desk import Desk
from fedbbpt.remote.prices import FREE, Given, Price, known
from fedbbpt.types import Float32, Inputs, Usage
from fedbbpt.web.keys import key_from, key_in, tenant
from fedbbpt_backends import openai_requests as asking
from fedbbpt_backends.heads import LinearHead, prototypes
from fedbbpt_backends.openai_services import Vectors, Words
from fedbbpt_backends.template import ASK, COMPLETE, Template, chosen_words

KEYLESS = "none"  # what local servers are told, which want some key and no certain one
IMAGES_AHEAD = 128  # most images of one call, for the memory's sake
# From the most useful on: the first that is not refused is taken. Reasoning models know the second parameter only.
POSSIBLE = [
    asking.Abilities(logprobs, limit) for logprobs in (20, 5, 0) for limit in ("max_tokens", "max_completion_tokens")
]


class OpenAI:
    """OpenAI's models, or those of any server with its API (vLLM, llama.cpp, Ollama, fedbbpt serve).

    `base_url` names the server; without it, it is OpenAI. The key comes from the variable `key_variable` or a file of
    mode 600, `key_file`. `api` chat asks a question about each text, or about each image of `image_size` pixels a side;
    completions has base models go on with it, `batch` texts a request; embeddings takes vectors, with prototypes of the
    provider's shots as classes. `words` (default: the task's) stand for the classes in the `template`. Scores are those
    of the next token, where the model tells its likeliest ones (`logprobs`), else the model writes a class's words.
    What it can do is asked once, and kept in the run's config.

    At most `concurrency` requests are under way, fewer where the service is busy, and as many a minute as it allows. A
    request that brings nothing is repeated `retries` times. `price` is in dollars for a million tokens read and
    written; without it, OpenAI's list is used, and other servers are free.
    """

    modalities: tuple[Modality, ...] = ("text", "image")

    def __init__(
        self,
        provider: Provider,
        /,
        *,
        model: str = "gpt-4o-mini",
        base_url: str | None = None,
        api: Literal["chat", "completions", "embeddings"] = "chat",
        key_variable: str = "OPENAI_API_KEY",
        key_file: str | None = None,
        template: str | None = None,
        words: list[str] | None = None,
        image_size: PositiveInt | None = None,
        logprobs: Literal["auto", 20, 5, 0] = "auto",
        limit: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto",
        temperature: NonNegativeFloat = 0.0,
        batch: PositiveInt = 16,
        concurrency: PositiveInt = 8,
        requests_per_minute: PositiveInt | None = None,
        tokens_per_minute: PositiveInt | None = None,
        retries: NonNegativeInt = 6,
        timeout: PositiveFloat = 60.0,
        price: Given | None = None,
    ) -> None:
        key = key_in(key_variable) if key_file is None else key_from(Path(key_file))
        if key is None and base_url is None:
            raise ConfigError(
                f"the key of OpenAI's API is missing: set {key_variable}, or name a file with -o backend.key_file=PATH"
            )
        if image_size is not None and api != "chat":
            raise ConfigError(f"images are for -o backend.api=chat, not for {api}")
        self._api, self._batch = api, 1 if api == "chat" else batch
        self._shots = provider.shots
        if api == "embeddings" and provider.shots is None:
            raise ConfigError("embeddings need examples of the task's provider, which this task does not have")
        self._words = chosen_words(words, provider.classes, provider.words)
        usual = COMPLETE if api == "completions" else ASK
        self._template = Template(template or usual, provider.question, self._words, " ")
        question = self._template.whole("")
        self._endpoint = asking.connect(key or KEYLESS, base_url, timeout, concurrency, model, temperature, question)
        self._identity = {"backend": "openai", "name": model, "url": base_url, "tenant": tenant(key), "api": api}
        self._possible = [
            one for one in POSSIBLE if logprobs in ("auto", one.logprobs) and limit in ("auto", one.limit)
        ]
        self._asks_first = len(self._possible) > 1
        self._head: LinearHead | None = None
        self.desk = Desk(
            self._service(self._possible[0]),
            width=None if api == "embeddings" else len(self._words),
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            retries=retries,
            price=Price(*price) if price else known(model) if base_url is None else FREE,
            drawn=temperature > 0,
        )
        self.info = BackendInfo(
            model=model,
            input_size=(image_size, image_size) if image_size else None,
            classes=provider.classes,
            scores="logits" if api == "embeddings" else "log-probabilities",
            batch_limit=min(self.desk.batch_limit, IMAGES_AHEAD) if image_size else self.desk.batch_limit,
            request_limit=self._batch,
        )

    @staticmethod
    def asks_for_words(options: Mapping[str, Any]) -> bool:
        """Whether the classes are asked for in words."""
        return options["api"] != "embeddings" and options["image_size"] is None

    @property
    def preparation(self) -> Usage:
        """What `prepare` asks for, exactly."""
        if self._shots is not None and self._api == "embeddings":
            return usage(len(self._shots(None)), self.info)
        return Usage(1, 1) if self._asks_first else Usage()

    def prepare(self) -> None:
        """Asks what the model can do, or about the provider's shots.

        Raises:
            BackendError: the service refuses all that could be asked of it, or does not answer.
        """
        if self._shots is not None and self._api == "embeddings":
            shots = self._shots(None)
            self._head = prototypes(self._known(shots.batch(slice(None)).inputs), shots.labels, self.info.classes)
        elif self._asks_first:
            self._possible = [self._best()]
        if self._api != "embeddings":
            self.info = replace(self.info, resolved=self._possible[0]._asdict())

    def query(self, inputs: Inputs) -> Answers:
        """See `Backend.query`."""
        answers = self.desk.query(inputs)
        return answers if self._head is None else answers._replace(scores=self._head(answers.scores))

    def _best(self) -> asking.Abilities:
        """The first of what is possible that the service does not refuse."""
        size = self.info.input_size
        one = as_texts(["Hello."]) if size is None else np.full((1, 3, *size), 0.5, np.float32)
        *others, last = self._possible
        for abilities in others:
            self.desk.switch(self._service(abilities))
            with suppress(asking.Refused):
                self._known(one)
                return abilities
        self.desk.switch(self._service(last))
        self._known(one)
        return last

    def _service(self, abilities: asking.Abilities) -> Service:
        if self._api == "embeddings":
            return Vectors(self._endpoint, self._identity, self._batch)
        ask = asking.chat if self._api == "chat" else asking.completions
        return Words(self._endpoint, self._identity, ask, self._template, self._words, abilities, self._batch)

    def _known(self, inputs: Inputs) -> Float32:
        scores = self.desk.query(inputs).scores
        if np.isnan(scores).any():
            raise BackendError(f"{self.info.model} does not answer; look whether the service is up, and try again")
        return scores
