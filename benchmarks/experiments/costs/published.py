"""The published costs of SFPrompt beside what it costs here."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fedbbpt.config import Config
from fedbbpt.config.components import build_task, resolve
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.run.formatting import DASH
from fedbbpt_backends.torchvision_compat import ensure_importable
from fedbbpt_benchmarks.experiments.costs.cost import Cost, Link
from fedbbpt_benchmarks.experiments.costs.measure import Stand
from fedbbpt_benchmarks.experiments.costs.paper_claims import CLIENT, COMMUNICATION, MINUTES, matching, remarks
from fedbbpt_benchmarks.experiments.costs.scaling import costs_of, settings_of, share
from fedbbpt_benchmarks.experiments.costs.tables import table
from fedbbpt_benchmarks.experiments.costs.vit_sizes import VIT_B, VIT_L, Shape

TITLES = {"fl-full": "FL full", "sfl-full": "SFL full", "sfprompt": "SFPrompt"}
BARE = "sfprompt of embedding and classifier"  # head_blocks=0, tail_blocks=0
FEW = 8  # samples for a ViT-B


class Column(NamedTuple):
    """One model."""

    title: str
    costs: Mapping[str, Cost]
    seconds: Mapping[str, float]  # of a round


def published(methods: Mapping[str, Config], samples: int, link: Link) -> str:
    """A table, and remarks on it. Measures the configs' model, and a ViT-B/16 of random weights."""
    chosen = {method: methods[method] for method in MINUTES}
    own, task = chosen["sfprompt"].backend, chosen["sfprompt"].task.name
    columns = [_measured(str(own.options["model"]), chosen, samples, link)]
    with tempfile.TemporaryDirectory() as folder:
        model = _random_vit_b(Path(folder), build_task(resolve("tasks", task, {})).classes)
        large = {method: _changed(config, "backend", model=model) for method, config in chosen.items()}
        columns.append(_measured(VIT_B.name, large, FEW, link))
    n = round(matching(methods, VIT_B))
    columns += [_by_formula(shape, methods, n, link) for shape in (VIT_B, VIT_L)]
    text = table(["", "published", *(column.title for column in columns)], list(_rows(columns)))
    return "\n".join([text, "", *(f"- {line}" for line in remarks(methods, link))])


def _rows(columns: Sequence[Column]) -> Iterator[list[str]]:
    for title, method, claim in (("", "sfprompt", share(CLIENT)), (", head_blocks=0 and tail_blocks=0", BARE, DASH)):
        shares = [share(c.costs[method].client / c.costs["fl-full"].client) for c in columns]
        yield [f"client FLOPs, SFPrompt / FL full{title}", claim, *shares]
    known = ", ".join(f"{value} ({shape.name})" for shape, value in COMMUNICATION.items())
    for other, claim in (("fl-full", known), ("sfl-full", DASH)):
        ratios = [f"{c.costs['sfprompt'].bytes / c.costs[other].bytes:.3f}" for c in columns]
        yield [f"bytes, SFPrompt / {TITLES[other]}", claim, *ratios]
    for method, minutes in MINUTES.items():
        times = [f"{c.seconds[method] / 60:.3f}" for c in columns]
        yield [f"run time, {TITLES[method]}, min", str(minutes), *times]
    for method in ("sfl-full", "sfprompt"):
        ratios = [f"{c.seconds[method] / c.seconds['fl-full']:.3f}" for c in columns]
        yield [f"run time, {TITLES[method]} / FL full", f"{MINUTES[method] / MINUTES['fl-full']:.3f}", *ratios]


def _measured(name: str, methods: Mapping[str, Config], samples: int, link: Link) -> Column:
    """Run time: the network by formula, and what was computed here."""
    stand = Stand(methods["sfprompt"], samples)
    costs = {method: stand.counted(config) for method, config in methods.items()}
    seconds = {method: link.seconds(costs[method]) + sum(stand.timed(config)) for method, config in methods.items()}
    bare = stand.counted(_changed(methods["sfprompt"], "algorithm", head_blocks=0, tail_blocks=0))
    return Column(f"{name}, measured, n = {samples}", costs | {BARE: bare}, seconds)


def _by_formula(shape: Shape, methods: Mapping[str, Config], samples: int, link: Link) -> Column:
    """Run time: the network alone."""
    options = methods["sfprompt"].algorithm.options
    head, tail = options["head_blocks"], options["tail_blocks"]
    costs = costs_of(shape, settings_of(methods, samples, head, tail))
    bare = costs_of(shape, settings_of(methods, samples, 0, 0))["sfprompt"]
    seconds = {method: link.seconds(cost) for method, cost in costs.items()}
    return Column(f"{shape.name}, by formula, n = {samples}", costs | {BARE: bare}, seconds)


def _changed(config: Config, section: str, **options: object) -> Config:
    """With some options of a component set anew."""
    component: ComponentConfig = getattr(config, section)
    return config.model_copy(
        update={section: ComponentConfig(name=component.name, options=component.options | options)}
    )


def _random_vit_b(folder: Path, classes: Sequence[str]) -> str:
    """Written there, with a head for these classes, which a backend asks for. Costs do not depend on the weights."""
    import transformers

    ensure_importable()
    names = dict(enumerate(classes))
    config = transformers.ViTConfig(id2label=names, label2id={name: i for i, name in names.items()})
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")
    return f"dir:{folder}"
