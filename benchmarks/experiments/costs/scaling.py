"""By the formulas: at which size of a model, and at which cut, SFPrompt costs as little as is claimed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fedbbpt.config import Config
from fedbbpt.run.formatting import format_percent
from fedbbpt_benchmarks.experiments.costs.break_even import MANY, bytes_of
from fedbbpt_benchmarks.experiments.costs.cost import Cost
from fedbbpt_benchmarks.experiments.costs.formula import Setting, cost
from fedbbpt_benchmarks.experiments.costs.tables import table
from fedbbpt_benchmarks.experiments.costs.vit_sizes import VIT_B, VIT_L, Shape, embedded_shape

CUTS = ((1, 1), (1, 0), (0, 1), (0, 0))  # (head_blocks, tail_blocks)
CLASSES = 10
OF_SFL, OF_FL, COMPUTE = 0.55, 0.47, 0.05  # what counts as holding: of their bytes; of FL's FLOPs at the client
EPOCHS = 10  # of FL, where a client trains for longer between two messages


def settings_of(configs: Mapping[str, Config], samples: int, head: int, tail: int) -> dict[str, Setting]:
    """The methods at this cut."""
    made = {method: Setting.of(c.algorithm.options, samples, CLASSES) for method, c in configs.items()}
    return {method: replace(setting, head_blocks=head, tail_blocks=tail) for method, setting in made.items()}


def costs_of(shape: Shape, settings: Mapping[str, Setting]) -> dict[str, Cost]:
    """Of each method."""
    return {method: cost(shape, setting) for method, setting in settings.items()}


def by_size(configs: Mapping[str, Config], counts: Sequence[int]) -> str:
    """SFPrompt's bytes and its client's FLOPs against the others', for so many samples of a client."""
    heads = ["model", "head, tail"]
    heads += [f"bytes / SFL {which}'s, n = {n:,}" for which in ("full", "linear") for n in counts]
    heads += [f"≤ {OF_SFL} of SFL full's", f"≤ {OF_FL} of FL full's"]
    heads += ["client FLOPs / FL full's", f"/ FL full's in {EPOCHS} epochs", f"≤ {COMPUTE:.0%}"]
    return table(heads, list(_rows(configs, counts)))


def _rows(configs: Mapping[str, Config], counts: Sequence[int]) -> Iterator[list[str]]:
    for shape in (embedded_shape(), VIT_B, VIT_L):
        for head, tail in CUTS:
            found = [costs_of(shape, settings_of(configs, n, head, tail)) for n in counts]
            ratios = [
                f"{costs['sfprompt'].bytes / costs[other].bytes:.3f}"
                for other in ("sfl-full", "sfl-linear")
                for costs in found
            ]
            settings = settings_of(configs, MANY, head, tail)
            lines = {method: bytes_of(shape, setting) for method, setting in settings.items()}
            bounds = [
                lines["sfprompt"].within(lines["sfl-full"], OF_SFL),
                lines["sfprompt"].within(lines["fl-full"], OF_FL),
            ]
            client = client_share(shape, settings)
            longer = client_share(shape, settings | {"fl-full": replace(settings["fl-full"], epochs=EPOCHS)})
            holds = "yes" if client <= COMPUTE else f"in {EPOCHS} epochs" if longer <= COMPUTE else "no"
            yield [shape.name, f"{head}, {tail}", *ratios, *bounds, share(client), share(longer), holds]


def client_share(shape: Shape, settings: Mapping[str, Setting]) -> float:
    """The client's FLOPs in SFPrompt, of those in FL where everything is trained."""
    costs = costs_of(shape, settings)
    return costs["sfprompt"].client / costs["fl-full"].client


def share(value: float) -> str:
    """In percent, with more digits where it is small."""
    return format_percent(value) if value >= 0.1 else f"{100 * value:.2g} %"
