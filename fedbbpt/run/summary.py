"""Summarises a finished run."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from fedbbpt.run.budget import billed, refused
from fedbbpt.run.checkpoint import Best, Totals
from fedbbpt.run.evaluate import Baselines, Result
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.query_budget import QueryPlan
from fedbbpt.run.report.prompt_preview import prompt_texts
from fedbbpt.types import Usage


def summarise(
    experiment: Experiment,
    planned: QueryPlan,
    best: Best,
    result: Result,
    reference: Baselines,
    totals: Totals,
    test_usage: Usage,
    left_out: Mapping[str, int],
) -> dict[str, Any]:
    """The content of `summary.json`; `test_usage` is that of all scores on the test data.

    `left_out` counts the rounds and scores without each client.
    """
    tested = np.sum([client.test for client in experiment.client_records], axis=0)
    alone, zero = reference.readout_alone, reference.zero_shot
    scores, unprompted = ({score.client: score.accuracy for score in of.scores} for of in (result, zero or result))
    return {
        "task": experiment.config.task.name,
        "seed": experiment.config.seed,
        "rounds": planned.rounds,
        "best_round": best.round,
        "majority_accuracy": float(tested.max() / tested.sum()),
        "zero_shot_accuracy": zero.accuracy if zero else None,
        "readout_alone_accuracy": alone.accuracy if alone else None,
        "paired": {
            name: paired._asdict() if (paired := result.beside(of)) else None
            for name, of in (("zero_shot", zero), ("readout_alone", alone))
        },
        "queries_per_input": len(best.parameters["prompt"]) // experiment.prompt.dim if experiment.prompt.dim else 1,
        "prompts": prompt_texts(experiment, best.parameters["prompt"]),
        "validation_accuracy": best.accuracy,
        "test_accuracy": result.accuracy,
        "test_macro_f1": result.macro_f1,
        **asdict(totals),
        "refused": refused(experiment),
        "billed": billed(experiment),
        "left_out": left_out,
        "queries_by_purpose": _purposes(experiment, planned, test_usage, totals),
        "clients": {
            client.id: {
                "test_accuracy": scores.get(client.id),
                "zero_shot_accuracy": unprompted.get(client.id) if zero else None,
                "train": client.train,
                "validation": client.validation,
                "test": client.test,
            }
            for client in experiment.client_records
        },
        "classes": list(experiment.task.classes),
        "confusion": {
            "zero_shot": zero.confusion.tolist() if zero else None,
            "test": result.confusion.tolist(),
        },
    }


def _purposes(experiment: Experiment, planned: QueryPlan, tested: Usage, totals: Totals) -> dict[str, int]:
    """The queries of `totals` by purpose; training takes less than planned if updates were lost."""
    found = {purpose: usage.queries for purpose, usage in planned.by_purpose.items()}
    if not experiment.remembers_all_answers:
        found["test"] = tested.queries
    found["baseline" if experiment.remembers_all_answers else "training"] += totals.queries - sum(found.values())
    return {purpose: n for purpose, n in found.items() if n or purpose != "setup"}
