"""A model behind the OpenAI API, or behind a server that imitates it."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Modality, Provider, usage
from fedbbpt.data.texts import as_texts
from fedbbpt.dry_run import raise_unless_dry_run
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.services import RequestRejected, Service
from fedbbpt.services.client import ServiceClient
from fedbbpt.services.prices import FREE, Price, PriceOption, list_price
from fedbbpt.types import Dataset, Inputs, Size, Usage
from fedbbpt.web.credentials import key_from_env, key_from_file, tenant_hash
from fedbbpt.web.option_types import Concurrency, Retries, Timeout
from fedbbpt_backends import openai_requests
from fedbbpt_backends.heads import LinearHead, fit_prototypes
from fedbbpt_backends.openai_services import EmbeddingService, ProbeService, VerbalizerService
from fedbbpt_backends.service_head import fit_service_head
from fedbbpt_backends.template import COMPLETION, QUESTION, Template, resolve_label_words

NO_KEY = "none"  # for local servers, which require a key but accept any
MAX_IMAGES = 128  # per call of `query`, to bound memory
TOP_LOGPROBS, MAX_TOKENS_PARAMETERS = (20, 5, 0), ("max_tokens", "max_completion_tokens")  # in order of preference
log = logging.getLogger("fedbbpt")


class OpenAI(Backend):
    """OpenAI's models, or those of any server with its API (vLLM, llama.cpp, Ollama, fedbbpt serve).

    `model` is the server's name of the model. `base_url` names the server; the default is OpenAI. The key comes from
    the environment variable `key_variable` or from `key_file`, a file of mode 600. With `api` chat, each text or image
    is one question; with completions, base models continue the text; with embeddings, the classes are prototypes of the
    provider's shots. Images have `image_size` pixels per side; by default, inputs are texts. `template` contains
    {text}, and may contain {question} and {options}. `label_words` are one string per class; the default is the task's.
    A completions or embeddings request holds at most `max_inputs_per_request` texts.

    The scores are log-probabilities of the next token if the model returns some: `top_logprobs` of them. Otherwise the
    class is parsed from the answer, which may take `max_answer_tokens` tokens: a model that reasons first needs more.
    `max_tokens_parameter` is the name of the parameter for that limit. `temperature` is 0, unless the service accepts
    only its own ("default"). What is auto, the first requests of a run find out, and the run's config keeps it.

    At most `concurrency` requests are in flight, fewer while the service is busy. `requests_per_minute` limits their
    rate, as `tokens_per_minute` limits that of tokens. A failed request is retried `retries` times. It fails after
    `timeout` seconds without data. `usd_per_million_tokens` holds the prices of input and output tokens; by default,
    OpenAI's list applies, and other servers are free.
    """

    modalities: tuple[Modality, ...] = ("text", "image")
    private_options: tuple[str, ...] = ("base_url", "key_variable", "key_file")

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
        label_words: list[str] | None = None,
        image_size: PositiveInt | None = None,
        top_logprobs: Literal["auto", 20, 5, 0] = "auto",
        max_tokens_parameter: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto",
        max_answer_tokens: PositiveInt | None = None,
        temperature: NonNegativeFloat | Literal["auto", "default"] = "auto",
        max_inputs_per_request: PositiveInt = 16,
        concurrency: Concurrency = 8,
        requests_per_minute: PositiveInt | None = None,
        tokens_per_minute: PositiveInt | None = None,
        retries: Retries = 6,
        timeout: Timeout = 60.0,
        usd_per_million_tokens: PriceOption | None = None,
    ) -> None:
        key = key_from_env(key_variable) if key_file is None else key_from_file(Path(key_file))
        if key is None and base_url is None:
            message = f"the key of OpenAI's API is missing: set {key_variable}, or name a file with"
            raise_unless_dry_run(ConfigError(f"{message} -o backend.key_file=PATH"))
        if image_size is not None and api != "chat":
            raise ConfigError(f"images are for -o backend.api=chat, not for {api}")
        self._api, self._batch = api, 1 if api == "chat" else max_inputs_per_request
        self._provider, self._shots = provider, provider.shots
        if api == "embeddings" and provider.shots is None:
            raise ConfigError(
                "api=embeddings needs examples of the task's provider, and this task has none; use another, such as "
                "-o backend.api=chat"
            )
        self._words = resolve_label_words(label_words, provider.classes, provider.label_words)
        usual = COMPLETION if api == "completions" else QUESTION
        self._template = Template(template or usual, provider.question, self._words, " ")
        question = self._template.render("")
        self._max_answer_tokens = max_answer_tokens
        self._endpoint = openai_requests.connect(key or NO_KEY, base_url, timeout, concurrency, model, question)
        self._identity = {"backend": "openai", "name": model, "url": base_url, "tenant": tenant_hash(key), "api": api}
        temperatures = {"auto": (0.0, None), "default": (None,)}.get(str(temperature), (temperature,))
        given = {
            "top_logprobs": top_logprobs,
            "max_tokens_parameter": max_tokens_parameter,
            "temperature": temperature,
        }
        self._given = [f"-o backend.{name}={value}" for name, value in given.items() if value != "auto"]
        self._candidates = [
            openai_requests.Capabilities(*way)
            for way in product(TOP_LOGPROBS, MAX_TOKENS_PARAMETERS, temperatures)
            if top_logprobs in ("auto", way[0]) and max_tokens_parameter in ("auto", way[1])
        ]
        variants = len({way.top_logprobs for way in self._candidates})
        self._probes = Usage(variants, variants) if len(self._candidates) > 1 else Usage()
        self._head: LinearHead | None = None
        price = list_price(model) if base_url is None else FREE
        if usd_per_million_tokens:
            price = Price(*usd_per_million_tokens)
        self.service_client = ServiceClient(
            self._service(VerbalizerService, self._candidates[0]),
            width=None if api == "embeddings" else len(self._words),
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            retries=retries,
            price=price,
            sampled=self._candidates[0].sampled,
        )
        self.info = BackendInfo(
            model=model,
            input_size=(image_size, image_size) if image_size else None,
            classes=provider.classes,
            scores="logits" if api == "embeddings" else "log-probabilities",
            max_batch=min(self.service_client.max_batch, MAX_IMAGES) if image_size else self.service_client.max_batch,
            max_inputs_per_request=self._batch,
        )

    @staticmethod
    def uses_verbalizer(options: Mapping[str, Any]) -> bool:
        """See `Backend.uses_verbalizer`."""
        return options["api"] != "embeddings" and options["image_size"] is None

    @property
    def setup_usage(self) -> Usage:
        """What `set_up` asks for: of vectors exactly, else at most, and exactly once it is done."""
        if self._shots is not None and self._api == "embeddings":
            return usage(len(self._shots(None)), self.info)
        return self._probes

    @property
    def adaptive_setup(self) -> bool:
        """Whether what `set_up` will ask depends on the answers."""
        return self._api != "embeddings" and len({way.top_logprobs for way in self._candidates}) > 1

    def set_up(self) -> None:
        """Asks what the model can do, or about the provider's shots.

        Raises:
            BackendError: the service refuses all that could be asked of it, or does not answer.
        """
        if self._shots is not None and self._api == "embeddings":
            self._head = LinearHead.fitted(self._provider, partial(self._prototypes, self._shots))
            return
        if self._probes.queries:
            self._candidates = [self._probe()]
            self.service_client.set_service(
                self._service(VerbalizerService, self._candidates[0]), self._candidates[0].sampled
            )
            self.service_client.refusals.has_answered = True
        (best,) = self._candidates
        temperature = "default" if best.temperature is None else best.temperature
        self.info = replace(self.info, resolved={**best._asdict(), "temperature": temperature})

    def _prototypes(self, give: Callable[[Size], Dataset]) -> LinearHead:
        return fit_service_head(fit_prototypes, self.service_client, give(None), self.info)

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`."""
        answers = self.service_client.query(inputs)
        return answers if self._head is None else answers._replace(scores=self._head(answers.scores))

    def _probe(self) -> openai_requests.Capabilities:
        """The first candidate that the service accepts, and whose log-probabilities it returns."""
        size, possible = self.info.input_size, list(self._candidates)
        one = as_texts(["Hello."]) if size is None else np.full((1, 3, *size), 0.5, np.float32)
        self._probes, silent = Usage(), False
        while possible:
            way = possible.pop(0)
            self.service_client.set_service(self._service(ProbeService, way), way.sampled)
            with suppress(RequestRejected):
                (reply,) = self.service_client.ask(one)
                self._probes += Usage(1, 1)
                if reply is None and way.top_logprobs and len({other.top_logprobs for other in self._candidates}) > 1:
                    possible = [other for other in possible if not other.top_logprobs]  # some servers fail on them
                    continue
                if reply is None:
                    last = self.service_client.refusals.last_error or "no scores"
                    raise BackendError(
                        f"{self.info.model} does not answer ({last}); check that the service is up and base_url is "
                        "right, and try again"
                    )
                if len(reply.scores) or not way.top_logprobs:
                    return way
                silent, possible = True, [other for other in possible if other[1:] == way[1:]]
        if silent and all(way.top_logprobs for way in self._candidates):
            raise BackendError(
                f"{self.info.model} returns no log-probabilities; leave out -o backend.top_logprobs, or use 0"
            )
        hint = f"; nothing was tried but {' and '.join(self._given)}" if self._given else ""
        raise RequestRejected(self.service_client.refusals.last_error + hint)

    def _service(self, kind: type[VerbalizerService], capabilities: openai_requests.Capabilities) -> Service:
        if self._api == "embeddings":
            return EmbeddingService(self._endpoint, self._identity, self._batch)
        ask = openai_requests.chat if self._api == "chat" else openai_requests.completions
        parts = (self._template, self._words, capabilities, self._batch, self._max_answer_tokens)
        return kind(self._endpoint, self._identity, ask, *parts)
