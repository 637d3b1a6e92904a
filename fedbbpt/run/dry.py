"""A dry run: the plan of a run, or what is wrong with it; nothing is asked, fetched or written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbbpt.config import Config
from fedbbpt.rehearsal import rehearsing
from fedbbpt.run import paying, train
from fedbbpt.run.again import reopen
from fedbbpt.run.files import check_writable
from fedbbpt.run.opening import check_payable
from fedbbpt.run.place import check_free
from fedbbpt.run.plan import Plan
from fedbbpt.run.same import began
from fedbbpt.run.session import Session

Rehearsed = tuple[Session, Plan, list[str]]  # also what the run itself will still need


def rehearse(config: Config, out: Path) -> Rehearsed:
    """A new run in a folder, as `train.train` would begin it; raises what that would raise."""
    check_writable(out)
    check_free(out, config)
    with rehearsing() as notes:
        _, session, planned = train.ready(config)
    return session, planned, notes


def rehearse_again(out: Path, limits: Mapping[str, Any]) -> Rehearsed:
    """A run that goes on, as `train.resume` would; raises what that would raise."""
    config, environment = began(out)
    with rehearsing() as notes:
        session = reopen(out, None)
        check_payable(session.backend, paying.recalled(environment.run, config, limits))
        planned, _, damaged = train.ready_again(out, session, limits)
    return session, planned, [*notes, *(f"checkpoint {name} is damaged" for name in damaged)]
