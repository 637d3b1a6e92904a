"""When a run stops: after its last round, or early, by validation loss."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fedbbpt.config import Config
from fedbbpt.run.query_budget import QueryPlan

CONVERGED_LOSS = 1e-3  # nats; with perfect accuracy, training stops below this validation loss


def stop_reason(rows: Iterable[Mapping[str, Any]], planned: QueryPlan, config: Config) -> str | None:
    """Says why a run stops after the rows of metrics.jsonl so far; None if it continues. Test rows are ignored."""
    looks = [row for row in rows if row["subset"] == "validation"]
    last = looks[-1]
    done = last["round"]
    if done >= planned.rounds:
        if done < config.rounds:
            return f"after {done:,} of {config.rounds:,} rounds, as max_queries and max_requests pay for no more"
        return f"as planned, after {done:,} round{'s' if done != 1 else ''}"
    if not config.patience or not _evaluated(last, config):
        return None
    early = f"early, after {done:,} of {planned.rounds:,} rounds"
    if last["accuracy"] == 1 and _loss_or_inf(last) < CONVERGED_LOSS:
        return f"{early}: with a validation loss below {CONVERGED_LOSS:g}, there is nothing left to be learned"
    loss, best = min((_loss_or_inf(row), row["round"]) for row in looks if _evaluated(row, config))
    if done - best >= config.patience:
        return f"{early}: {done - best:,} (patience) brought no validation loss below the {loss:.3f} of round {best:,}"
    return None


def _evaluated(row: Mapping[str, Any], config: Config) -> bool:
    return row["round"] == 0 or config.is_evaluated(row["round"])


def _loss_or_inf(row: Mapping[str, Any]) -> float:
    """The loss of a row, whose null stands for NaN or infinity."""
    loss = row["loss"]
    return math.inf if loss is None or math.isnan(loss) else float(loss)
