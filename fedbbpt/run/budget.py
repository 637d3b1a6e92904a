"""Limits, bills and cost estimates of runs on a paid service."""

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt

from fedbbpt.config import Config
from fedbbpt.config.validation import check_keys, validate
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.query_budget import QueryPlan
from fedbbpt.run.simulation import Simulation
from fedbbpt.services.ledger import Account, Budget
from fedbbpt.services.prices import NANODOLLARS, list_month, list_price
from fedbbpt.web.option_types import Dollars

SAMPLE_SIZE = 100  # inputs
MAX_REASONS = 3  # of refusals
LIMITS = ("max_queries", "max_requests", "max_cost")  # of a config, in the order of `Budget`


class Limits(BaseModel):
    """What may be spent, apart from any run; None is no limit."""

    model_config = ConfigDict(strict=True)
    max_queries: PositiveInt | None = None
    max_requests: PositiveInt | None = None
    max_cost: Dollars | None = None


def separate_account(limits: Mapping[str, Any]) -> Account:
    """An account of its own with these limits, for queries that belong to no run.

    Raises:
        UnknownName: there is no such limit.
        ConfigError: it is not a positive number.
    """
    check_keys("limit", limits, Limits.model_fields)
    return Account(uuid.uuid4().hex, _limits(validate(Limits, dict(limits)).model_dump()))


def new_account(config: Config) -> Account:
    """The account of a new run."""
    return Account(uuid.uuid4().hex, _limits(config.model_dump()))


def resumed_account(run: str, config: Config, limits: Mapping[str, Any]) -> Account:
    """The account of a resumed run, with `limits` in place of those of its config."""
    return Account(run, _limits(validate(Config, {**dict(config), **limits}).model_dump()))


def billed(experiment: Experiment) -> dict[str, Any] | None:
    """What the service billed, which leaves out cached answers; None for a backend that is free of charge."""
    client = experiment.backend.service_client
    if client is None:
        return None
    usage = client.billed()
    return usage._asdict() | {"cost": None if client.price is None else usage.cost / NANODOLLARS}


def setup_is_at_most(experiment: Experiment) -> bool:
    """Whether the setup may cost less than planned, because the backend probes what its service can do."""
    return experiment.backend.adaptive_setup


def refused(experiment: Experiment) -> dict[str, int]:
    """Numbers of inputs that the service refused in this process, for its most frequent reasons."""
    client = experiment.backend.service_client
    return dict(client.refusals.counts.most_common(MAX_REASONS)) if client else {}


class CostEstimate(NamedTuple):
    """The estimated cost of a run."""

    tokens: int
    cost: float | None  # dollars; None if no price is known
    prices: str  # their source


def estimate_cost(experiment: Simulation, planned: QueryPlan) -> CostEstimate | None:
    """Estimates a run's cost from a sample of training inputs under the initial prompt; None if it is free."""
    service = experiment.backend.service_client
    if service is None:
        return None
    batch = max((client.train for client in experiment.clients), key=len).batch(slice(SAMPLE_SIZE))
    start = experiment.prompt.init(np.random.default_rng(experiment.config.seed))
    read, output = service.estimate_tokens(experiment.prompt.apply(start[None], batch.inputs, batch.features))
    queries = planned.total.queries
    tokens, price = round((read + output) * queries), service.price
    cost = None if price is None else price.cost(tokens, round(output * queries)) / NANODOLLARS
    listed = price is not None and price == list_price(experiment.backend.info.model)
    return CostEstimate(tokens, cost, f"prices of {list_month()}" if listed else "at the price given")


def _limits(settings: Mapping[str, Any]) -> Budget:
    queries, requests, cost = (settings[limit] for limit in LIMITS)
    return Budget(queries, requests, None if cost is None else int(cost * NANODOLLARS))
