"""What a site allows to runs: written by its operator, and checked at the site, where no job can change it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from fedbbpt import registry
from fedbbpt.algorithms import Algorithm
from fedbbpt.backend import Backend, BackendOutput
from fedbbpt.config import Config
from fedbbpt.config.components import load_class
from fedbbpt.config.settings import read_toml
from fedbbpt.config.validation import check_keys, validate
from fedbbpt.errors import ConfigError, PolicyError, UnknownName
from fedbbpt.services.ledger import Budget
from fedbbpt.services.prices import NANODOLLARS
from fedbbpt.types import Inputs, Usage
from fedbbpt.web.option_types import Dollars


class Policy(BaseModel):
    """The limits of a site, each for one run; None is no limit."""

    model_config = ConfigDict(frozen=True, strict=True)
    max_queries: PositiveInt | None = None
    max_requests: PositiveInt | None = None
    max_cost: Dollars | None = None
    max_rounds: PositiveInt | None = None
    algorithms: Annotated[tuple[str, ...], Field(strict=False)] | None = None  # None: all
    share_words: bool = False  # whether the server may know how often the words of the training texts occur
    share_activations: bool = False  # whether it may run a part of the model on what this site's examples become there

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Policy":
        """Makes a policy from settings as in TOML.

        Raises:
            UnknownName: no such setting or algorithm.
            ConfigError: a value is of the wrong type or out of bounds.
        """
        check_keys("setting of policy", values, cls.model_fields)
        policy = validate(cls, dict(values), "policy")
        known = registry.names("algorithms")
        for name in policy.algorithms or ():
            if name not in known:
                raise UnknownName("algorithm of policy.algorithms", name, known)
        return policy

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """Reads a policy from a TOML file.

        Raises:
            ConfigError: the file cannot be read, or is no policy.
        """
        values = read_toml(path)
        try:
            return cls.of(values)
        except (ConfigError, UnknownName) as e:
            raise ConfigError(f"{path} is no policy of a site: {e}") from e

    @property
    def budget(self) -> Budget:
        """The limits of what a run may spend at a paid service."""
        cost = None if self.max_cost is None else int(self.max_cost * NANODOLLARS)
        return Budget(self.max_queries, self.max_requests, cost)

    def check(self, config: Config, planned: Usage) -> None:
        """Checks what a job asks before it begins; `planned` is the usage of the whole run at this site.

        What it costs is checked by the service's ledger, request by request, against `budget`.

        Raises:
            PolicyError: the job asks for more than is allowed.
        """
        algorithm: type[Algorithm] = load_class("algorithms", config.algorithm.name)
        shares_activations = algorithm.access == "white-box" and algorithm.has_server  # which runs the body
        if shares_activations and not self.share_activations:
            raise _refusal("share_activations", "false", "activations and gradients of each example")
        if self.algorithms is not None and config.algorithm.name not in self.algorithms:
            allowed = ", ".join(self.algorithms) or "none"
            raise _refusal("algorithms", allowed, f"algorithm {config.algorithm.name}")
        asked = {"rounds": config.rounds, "queries": planned.queries, "requests": planned.requests}
        for what, count in asked.items():
            limit: int | None = getattr(self, f"max_{what}")
            if limit is not None and count > limit:
                raise _refusal(f"max_{what}", f"{limit:,}", f"{count:,} {what}")

    def check_shares_words(self) -> None:
        """Raises PolicyError unless the server may know how often the words of the training texts occur."""
        if not self.share_words:
            raise _refusal("share_words", "false", "the counts of the words in this site's texts")


class QueryGuard:
    """Counts a run's queries at a site, and refuses those beyond `max_queries`, even if the plan was wrong.

    Args:
        policy: the site's.
        queries: how many the run has asked before.
    """

    def __init__(self, policy: Policy, queries: int = 0) -> None:
        self.queries = queries
        self._limit = policy.max_queries

    def count(self, more: int) -> None:
        """Counts queries that are about to be asked; raises ConfigError instead if they are above the limit."""
        if self._limit is not None and self.queries + more > self._limit:
            raise _refusal("max_queries", f"{self._limit:,}", f"{self.queries + more:,} queries, more than it planned")
        self.queries += more

    def guarded(self, backend: Backend) -> Backend:
        """The backend, each of whose queries is checked before it is asked, and counted."""
        return _Guarded(backend, self)


class _Guarded(Backend):
    def __init__(self, backend: Backend, guard: QueryGuard) -> None:
        self.info, self._backend, self._guard = backend.info, backend, guard

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`."""
        self._guard.count(len(inputs))
        return self._backend.query(inputs)


def _refusal(limit: str, value: str, asked: str) -> PolicyError:
    return PolicyError(
        f"this site's policy has {limit} = {value}, and the job asks for {asked}; the site's operator can change that"
    )
