"""Who pays for a run's queries, where a service wants money for them, and what it may cost."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbbpt.remote import charging
from fedbbpt.remote.ledger import Account, Limits
from fedbbpt.remote.prices import NANO
from fedbbpt.run.config import Config
from fedbbpt.run.session import Session

LIMITS = ("max_queries", "max_calls", "max_cost")  # of a config, in the order of `Limits`


def opened(config: Config) -> Account:
    """The account of a new run."""
    return Account(uuid.uuid4().hex, _limits(config.model_dump()))


def account(out: Path, config: Config, other: Mapping[str, Any]) -> Account:
    """That of the run in a folder, with `other` limits than its config has, where they are given."""
    environment = json.loads((out / "environment.json").read_text("utf-8"))
    return Account(environment["run"], _limits({**config.model_dump(), **other}))


def paid(session: Session) -> dict[str, Any] | None:
    """What was really paid for, without what was known already; None where nothing is charged."""
    remote = charging(session.backend)
    if remote is None:
        return None
    paid = remote.desk.paid()
    return paid._asdict() | {"cost": None if remote.desk.price is None else paid.cost / NANO}


def _limits(settings: Mapping[str, Any]) -> Limits:
    queries, calls, cost = (settings[limit] for limit in LIMITS)
    return Limits(queries, calls, None if cost is None else int(cost * NANO))
