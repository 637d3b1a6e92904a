"""The three figures, from finished runs; each with its caption and the numbers behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from fedbbpt.algorithms import ServerState
from fedbbpt.data.partition import label_counts
from fedbbpt.run import checkpoint
from fedbbpt.run.environment import read_results
from fedbbpt.run.formatting import format_percent
from fedbbpt.run.report.charts import NAMED_CLASSES, Series, class_colour
from fedbbpt.run.simulation import Simulation, open_simulation
from fedbbpt_benchmarks.bench import runner
from fedbbpt_benchmarks.bench.plan import Cell
from fedbbpt_benchmarks.bench.white_box import FULL, LINEAR
from fedbbpt_benchmarks.figures import charts
from fedbbpt_benchmarks.figures.embedding import (
    NEIGHBOURS,
    POINTS,
    Embedding,
    features,
    is_drawable,
    partitioned,
    perplexity,
    sample_test_images,
    tsne,
    vote,
)
from fedbbpt_benchmarks.figures.plan import TUNINGS, Tunings

ALPHA = 0.1  # of the paper's figure


@dataclass(frozen=True)
class Figure:
    """What the report shows, in its order."""

    title: str
    note: str
    charts: list[Markup]
    numbers: Mapping[str, Any]  # what the charts show
    legend: list[tuple[str, str]] = field(default_factory=list)  # names and colours
    table: list[list[str]] = field(default_factory=list)  # its head, then its rows


def figures(run: Path, plan: Tunings, experiment: Simulation, state: ServerState) -> dict[str, Any]:
    """The content of `figures.json`, from a run, its best parameters, and the finished runs beside it."""
    shown = [accuracies(run, plan), labels(experiment), embeddings(run, plan, experiment, state)]
    return {"title": "Beside full fine-tuning and a linear classifier", "figures": [asdict(figure) for figure in shown]}


def accuracies(run: Path, plan: Tunings) -> Figure:
    """Test accuracy of each tuning against the number of clients."""
    cells = {method: [plan.cell(clients, method) for clients in plan.clients] for method in plan.methods}
    found = {cell: summary(run, plan, cell) for column in cells.values() for cell in column}
    known = [one for one in found.values() if one is not None]  # with the run's own
    reached = {
        method: [one["test_accuracy"] if (one := found[cell]) else None for cell in column]
        for method, column in cells.items()
    }
    tested = sum(sum(client["test"]) for client in known[0]["clients"].values())
    lines = [
        Series(
            TUNINGS[method],
            method,
            [(n, share) for n, share in zip(plan.clients, shares, strict=True) if share is not None],
        )
        for method, shares in reached.items()
    ]
    rounds = plan.settings["rounds"]
    sooner = any(one["rounds"] != rounds for one in known)
    limit = " Some ended sooner, at the limit of queries or requests." if sooner else ""
    missing = [str(cell) for cell, one in found.items() if one is None]
    without = f" Not drawn, because their runs failed: {', '.join(missing)}." if missing else ""
    limited = "test_limit" in plan.settings["data"]
    sampled = "drawn anew for each number of clients" if limited else "the same for all"
    note = (
        f"Each point is one run of up to {rounds} round{'s' if rounds != 1 else ''} with seed {plan.seeds[0]}, "
        f"and the settings below; another seed may change the order. All are split alike; full "
        f"fine-tuning and linear train on all samples, without soft tokens and self-update, at rates that "
        f"suit them ({FULL['lr']} in batches "
        f"of {FULL['batch_size']}, and {LINEAR['lr']}). "
        f"Accuracy is measured on {tested:,} test images, {sampled}; the bars "
        "are 95 % intervals (Wilson), which allow for the number of test images only."
        f"{limit}{without}"
    )
    head = ["Test accuracy", *(f"{clients:,} client{'s' if clients != 1 else ''}" for clients in plan.clients)]
    rows = [[TUNINGS[method], *map(format_percent, shares)] for method, shares in reached.items()]
    return Figure(
        "Accuracy by the number of clients",
        note,
        [charts.by_clients(plan.clients, lines, tested)],
        {"clients": plan.clients, "test_accuracy": reached, "test_images": tested, "seed": plan.seeds[0]},
        table=[head, *rows],
    )


def labels(experiment: Simulation) -> Figure:
    """Who has how many training images of each class where the labels are as skewed as in the paper's figure."""
    config, names = experiment.config, experiment.task.classes
    alpha = experiment.task.dirichlet_alpha if config.data.dirichlet_alpha is None else config.data.dirichlet_alpha
    own = config.data.partition == "dirichlet" and alpha == ALPHA
    if own:
        clients, origin = experiment.clients, "These are this run's own clients."
    else:
        skewed = {"partition": "dirichlet", "dirichlet_alpha": ALPHA, "empty_clients": "fill"}
        dealt = config.model_copy(update={"data": config.data.model_copy(update=skewed)})
        clients = open_simulation(dealt).clients
        dealt_by = (
            f"α = {alpha:g}" if config.data.partition == "dirichlet" else f"data.partition={config.data.partition}"
        )
        origin = f"This run itself deals them with {dealt_by}, see above."
    counts = [label_counts(client.train, len(names)) for client in clients]
    ids = [client.id for client in clients]
    note = (
        f"The {sum(map(sum, counts)):,} training images of the task, dealt out with Dirichlet α = {ALPHA:g}, and with "
        "this run's seed and number of clients. The area of a circle is the number of images, "
        f"{max(map(max, counts)):,} for the largest; a client that would have none is given one. {origin}"
    )
    return Figure(
        f"Labels by client with α = {ALPHA:g}",
        note,
        [charts.bubbles(f"Training labels by client, α = {ALPHA:g}", counts, ids, names)],
        {"alpha": ALPHA, "clients": ids, "classes": names, "counts": counts},
    )


def embeddings(run: Path, plan: Tunings, experiment: Simulation, state: ServerState) -> Figure:
    """What the classifier reads, before training and after each of the tunings that change it."""
    names, seed, at_once = experiment.task.classes, experiment.config.seed, experiment.backend.info.max_batch
    data = sample_test_images(experiment.clients, seed)
    truth = np.concatenate([part.labels for part in data])
    whole = partitioned(experiment, num_prompt_tokens=0)
    found = {"no tuning, and linear": features(whole, {}, data, at_once)}
    full = plan.cell(plan.own, "sfl-full")
    if done := runner.finished(run / "figures", full):
        best = checkpoint.load_best(run / "figures" / full.path)[1]
        found[TUNINGS["sfl-full"]] = features(whole, best.parameters, data, at_once)
    found[TUNINGS["sfprompt"]] = features(partitioned(experiment), state.parameters, data, at_once)
    drawable = {name: values for name, values in found.items() if is_drawable(values)}
    seen = [Embedding(name, tsne(values, seed), vote(values, truth)) for name, values in drawable.items()]
    tests = sum(len(client.test) for client in experiment.clients)
    which = (
        f"{len(truth)} of the {tests:,} test images, drawn at random" if tests > POINTS else f"the {tests} test images"
    )
    option = experiment.config.algorithm.options
    blurred = " What crosses a cut is taken as it is, without clipping and noise." if option["clip_norm"] else ""
    without = "" if done else " Full fine-tuning is missing, because its run failed."
    if flat := [name for name in found if name not in drawable]:
        without += f" Not drawn, since the classifier reads the same of all images or no numbers: {'; '.join(flat)}."
    width = next(iter(found.values())).shape[1]
    note = (
        f"What the classifier reads of {which}, by class, in two dimensions (t-SNE from the first two principal "
        f"components, perplexity {perplexity(len(truth)):.3g}); distances between far groups mean little. The "
        f"parameters are those that each run with {plan.own} clients kept. A classifier alone leaves what it reads as "
        "it is, so no tuning and linear are one picture. The share at the right does not depend on t-SNE: that of the "
        f"images whose class their {NEIGHBOURS} nearest others vote for, among all {width:,} numbers. It describes "
        f"test images after training is over, and chose nothing.{blurred}{without}"
    )
    return Figure(
        "What the classifier reads",
        note,
        [_panel(one, truth.tolist(), names) for one in seen],
        {
            "classes": names,
            "labels": truth.tolist(),
            "nearest_neighbours": NEIGHBOURS,
            "panels": [
                {"name": one.name, "vote": one.vote, "points": np.round(one.points, 2).tolist()} for one in seen
            ],
        },
        legend=[(n, class_colour(i)) for i, n in enumerate(names)] if len(names) <= NAMED_CLASSES else [],
    )


def _panel(one: Embedding, truth: Sequence[int], names: Sequence[str]) -> Markup:
    return charts.scatter(one.name, f"{NEIGHBOURS} nearest: {format_percent(one.vote)}", one.points, truth, names)


def summary(run: Path, plan: Tunings, cell: Cell) -> dict[str, Any] | None:
    """Of a run that came to its end; None of one that failed."""
    folder = run
    if cell in plan.cells:
        folder = run / "figures" / cell.path
        if not runner.finished(run / "figures", cell):
            return None
    facts, _ = read_results(folder)
    return facts
