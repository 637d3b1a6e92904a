"""Who pays for a run's queries, where a service wants money for them, and what it may cost."""

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedbbpt.config import Config
from fedbbpt.config.validation import validate
from fedbbpt.run.plan import Plan
from fedbbpt.run.session import Session
from fedbbpt.services import charging
from fedbbpt.services.ledger import Account, Limits
from fedbbpt.services.prices import NANO, known, version

SAMPLE_SIZE = 100  # inputs
MAX_REASONS = 3  # of refusals
LIMITS = ("max_queries", "max_requests", "max_cost")  # of a config, in the order of `Limits`


def new_account(config: Config) -> Account:
    """The account of a new run."""
    return Account(uuid.uuid4().hex, _limits(config.model_dump()))


def resumed_account(run: str, config: Config, limits: Mapping[str, Any]) -> Account:
    """The account of a run that goes on, with `limits` in place of its config's."""
    return Account(run, _limits(validate(Config, {**dict(config), **limits}).model_dump()))


def billed(session: Session) -> dict[str, Any] | None:
    """What the service billed, which leaves out cached answers; None for a backend that is free of charge."""
    remote = charging(session.backend)
    if remote is None:
        return None
    usage = remote.desk.paid()
    return usage._asdict() | {"cost": None if remote.desk.price is None else usage.cost / NANO}


def setup_is_at_most(session: Session) -> bool:
    """Whether the setup may cost less than planned, because the backend probes what its service can do."""
    remote = charging(session.backend)
    return remote is not None and remote.finds_out


def refused(session: Session) -> dict[str, int]:
    """How many inputs the service refused since this process began, by its own words: the most frequent."""
    remote = charging(session.backend)
    return dict(remote.desk.trouble.refused.most_common(MAX_REASONS)) if remote else {}


class CostEstimate(NamedTuple):
    """What a run will take, about."""

    tokens: int
    cost: float | None  # dollars; None where no price is known
    prices: str  # whose


def estimate_cost(session: Session, planned: Plan) -> CostEstimate | None:
    """From the sizes of some training inputs under the prompt's start; None where nothing is charged."""
    remote = charging(session.backend)
    if remote is None:
        return None
    batch = max((client.train for client in session.clients), key=len).batch(slice(SAMPLE_SIZE))
    start = session.prompt.init(np.random.default_rng(session.config.seed))
    read, output = remote.desk.size(session.prompt.apply(start[None], batch.inputs, batch.features))
    queries = planned.total.queries
    tokens, price = round((read + output) * queries), remote.desk.price
    cost = None if price is None else price.of(tokens, round(output * queries)) / NANO
    listed = price is not None and price == known(session.backend.info.model)
    return CostEstimate(tokens, cost, f"prices of {version()}" if listed else "at the price given")


def _limits(settings: Mapping[str, Any]) -> Limits:
    queries, requests, cost = (settings[limit] for limit in LIMITS)
    return Limits(queries, requests, None if cost is None else int(cost * NANO))
