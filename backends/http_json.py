"""Any endpoint that answers texts or images with scores or embeddings, as a file describes it."""

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
from fedbbpt_backends.http_endpoint import read_description
from fedbbpt_backends.service_head import fit_service_head

IMAGES_AHEAD = 128  # most images of one `query`, for the memory's sake


class HttpJson(Backend):
    """A model behind an endpoint that is described in a TOML file, `description` (see `examples/http_json.toml`).

    `head` is for endpoints that answer with embeddings: `prototypes` (the default) or `linear`, fitted to the
    provider's shots, which are asked about first; or a safetensors file. At most `concurrency` requests are under way,
    fewer where the service is busy. A request that brings nothing is repeated `retries` times. `price` is in dollars
    per million input and output tokens.

    Requests go through a session of `requests_cache`, `session`: answers are known for `expire_after` seconds (-1: for
    ever), and with `only_if_cached` nobody is asked.
    """

    modalities: tuple[Modality, ...] = ("image", "text")

    def __init__(
        self,
        provider: Provider,
        /,
        *,
        description: str,
        head: str | None = None,
        concurrency: Concurrency = 8,
        requests_per_minute: PositiveInt | None = None,
        retries: Retries = 6,
        price: PriceOption | None = None,
        expire_after: Literal[-1] | Seconds = -1,
        only_if_cached: bool = False,
    ) -> None:
        try:
            from fedbbpt_backends.http_service import JsonService, Memory
        except ImportError as e:
            raise MissingExtra("backend 'http-json'", "http", e) from e
        file = Path(description)
        about = read_description(file)
        size = (about.image.height, about.image.width) if about.image else None
        if head is not None and about.dimensions is None:
            raise ConfigError(f"backend.head goes on embeddings, not on the {about.kind} of {file}; leave it out")
        self._fit = FITTERS.get(head or "prototypes") if about.dimensions else None
        self._provider = provider
        if self._fit and provider.shots is None:
            raise ConfigError(
                "the head is fitted to the provider's shots, which this task does not have; give one with "
                "-o backend.head=PATH.safetensors"
            )
        self._head = load_head(head, about.dimensions) if head and about.dimensions and not self._fit else None
        classes = self._head.classes if self._head else tuple(about.classes or provider.classes)
        memory = Memory(expire_after, only_if_cached)
        service = JsonService(about, () if about.dimensions else classes, concurrency, memory)
        self.session = service.session
        self.service_client = ServiceClient(
            service,
            width=service.width,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            retries=retries,
            price=Price(*price) if price else None,
        )
        ahead = self.service_client.max_batch if size is None else -(-IMAGES_AHEAD // about.batch) * about.batch
        self.info = BackendInfo(
            model=about.url,
            input_size=size,
            classes=classes,
            scores="logits" if about.kind == "embeddings" else about.kind,
            max_batch=min(self.service_client.max_batch, ahead),
            max_inputs_per_request=about.batch,
            resolved={"description": str(file.absolute())},
        )

    @property
    def setup_usage(self) -> Usage:
        """What `set_up` asks for, exactly."""
        return Usage() if self._fit is None else usage(len(self._shots()), self.info)

    def set_up(self) -> None:
        """Asks about the provider's shots, where a head is to be fitted to them.

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
