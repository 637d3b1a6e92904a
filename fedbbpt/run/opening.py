"""The model is opened; of one that is not on this machine, a dry run takes what is known of it."""

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Provider
from fedbbpt.config import Config
from fedbbpt.config.components import load_class, uses_embeddings
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.dry_run import NotFetched, raise_unless_dry_run
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.printing import told_if_slow
from fedbbpt.services.ledger import Account
from fedbbpt.types import Inputs


class Sketch(Backend):
    """A model that is not on this machine, as far as a plan needs it."""

    def __init__(self, info: BackendInfo) -> None:
        self.info = info

    def query(self, inputs: Inputs) -> BackendOutput:
        """Nothing of it is here."""
        raise BackendError(f"{self.info.model} is not on this machine, and cannot be asked")


def open_backend(config: Config, provider: Provider) -> Backend:
    """The config's model.

    Raises:
        NotFetched: in a dry run, it would have to be fetched, and too little is known of it without.
    """
    kind: type[Backend] = load_class("backends", config.backend.name)
    try:
        with told_if_slow(loading(config.backend)):
            backend: Backend = kind(provider, **config.backend.options)  # type: ignore[call-arg]
    except NotFetched as e:
        info = kind.sketch(provider, config.backend.options)
        if info is None or uses_embeddings(config.prompt.name):
            raise
        raise_unless_dry_run(e)
        return Sketch(info)
    return backend


def loading(backend: ComponentConfig) -> str:
    """What somebody is told who waits for a backend's model.

    >>> loading(ComponentConfig(name="hf-text", options={"model": "smollm2"}))
    'loading hf-text smollm2 ...'
    """
    return f"loading {backend.name} {backend.options.get('model', '')}".rstrip() + " ..."


def check_payable(backend: Backend, payer: Account) -> None:
    """Raises ConfigError if what may be spent is limited, and no price is known."""
    client = backend.service_client
    if client is not None and payer.budget.cost is not None and client.price is None:
        raise ConfigError(
            f"max_cost needs a price, and none is known of {backend.info.model}; say how many dollars a million "
            "input and output tokens cost: -o 'backend.usd_per_million_tokens=[0.1, 0.4]'"
        )
