"""Any HTTP endpoint that answers texts or images with scores or embeddings, described by a file."""

import math
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Modality, Provider, usage
from fedbbpt.errors import ConfigError, MissingExtra
from fedbbpt.services.client import ServiceClient
from fedbbpt.services.prices import Price, PriceOption
from fedbbpt.types import Dataset, Inputs, Usage
from fedbbpt.web.option_types import Concurrency, Retries, Seconds
from fedbbpt_backends.heads import FITTERS, Fit, LinearHead, load_head
from fedbbpt_backends.http_endpoint import read_endpoint
from fedbbpt_backends.service_head import fit_service_head

MAX_IMAGES = 128  # per call of `query`, to bound caching; rounded up to full requests


class HttpJson(Backend):
    """A model behind an HTTP endpoint, which `endpoint_file` describes in TOML (see `examples/http_json.toml`).

    `classifier` is for endpoints that return embeddings: `prototypes` (the default) or `linear`, fitted to the
    provider's shots, which are queried first; or a safetensors file. At most `concurrency` requests are in flight,
    fewer while the service is busy. `requests_per_minute` limits their rate. A failed request is retried `retries`
    times. `usd_per_million_tokens` holds the prices of input and output tokens.

    Requests go through `session`, a `requests_cache.CachedSession`: responses expire after `expire_after` seconds (-1:
    never), and with `only_if_cached` no request is sent.
    """

    modalities: tuple[Modality, ...] = ("image", "text")
    extra = "http"

    def __init__(
        self,
        provider: Provider,
        /,
        *,
        endpoint_file: str,
        classifier: str | None = None,
        concurrency: Concurrency = 8,
        requests_per_minute: PositiveInt | None = None,
        retries: Retries = 6,
        usd_per_million_tokens: PriceOption | None = None,
        expire_after: Literal[-1] | Seconds = -1,
        only_if_cached: bool = False,
    ) -> None:
        try:
            from fedbbpt_backends.http_service import CacheOptions, JsonService
        except ImportError as e:
            raise MissingExtra("backend 'http-json'", "http", e) from e
        file = Path(endpoint_file)
        config = read_endpoint(file)
        size = (config.image.height, config.image.width) if config.image else None
        if classifier is not None and config.dimensions is None:
            raise ConfigError(f"backend.classifier is for embeddings, and {file} describes {config.kind}; leave it out")
        self._fit = FITTERS.get(classifier or "prototypes") if config.dimensions else None
        self._provider = provider
        if self._fit and provider.shots is None:
            raise ConfigError(
                "the classifier is fitted to the provider's shots, and this task has none; name a file with "
                "-o backend.classifier=PATH.safetensors"
            )
        self._head = (
            load_head(classifier, config.dimensions) if classifier and config.dimensions and not self._fit else None
        )
        classes = self._head.classes if self._head else tuple(config.classes or provider.classes)
        caching = CacheOptions(expire_after, only_if_cached)
        service = JsonService(config, () if config.dimensions else classes, concurrency, caching)
        self.session = service.session
        self.service_client = ServiceClient(
            service,
            width=service.width,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            retries=retries,
            price=Price(*usd_per_million_tokens) if usd_per_million_tokens else None,
        )
        max_batch = self.service_client.max_batch
        if size is not None:
            max_batch = min(
                max_batch, math.ceil(MAX_IMAGES / config.max_inputs_per_request) * config.max_inputs_per_request
            )
        self.info = BackendInfo(
            model=config.url,
            input_size=size,
            classes=classes,
            scores="logits" if config.kind == "embeddings" else config.kind,
            max_batch=max_batch,
            max_inputs_per_request=config.max_inputs_per_request,
            resolved={"endpoint_file": str(file.absolute())},
        )

    @property
    def setup_usage(self) -> Usage:
        """What `set_up` asks for, exactly."""
        return Usage() if self._fit is None else usage(len(self._shots()), self.info)

    def set_up(self) -> None:
        """Asks config the provider's shots, where a head is to be fitted to them.

        Raises:
            BackendError: some of them got no answer.
        """
        if self._fit is not None:
            self._head = LinearHead.fitted(self._provider, partial(self._fitted, self._fit))

    def _fitted(self, fit: Fit) -> LinearHead:
        return fit_service_head(fit, self.service_client, self._shots(), self.info)

    def _shots(self) -> Dataset:
        assert self._provider.shots is not None  # as has been checked
        return self._provider.shots(self.info.input_size)

    def query(self, inputs: Inputs) -> BackendOutput:
        """Class scores of texts (b,), or of images (b, 3, h, w), float32 in [0, 1]."""
        answers = self.service_client.query(inputs)
        return answers if self._head is None else answers._replace(scores=self._head(answers.scores))
