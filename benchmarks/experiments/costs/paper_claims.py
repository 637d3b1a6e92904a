"""What SFPrompt's authors say it costs, and which assumptions of ours would give their numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fedbbpt.config import Config
from fedbbpt_benchmarks.experiments.costs.break_even import MANY, Bytes, bytes_of
from fedbbpt_benchmarks.experiments.costs.cost import Link
from fedbbpt_benchmarks.experiments.costs.formula import FLOAT32, Setting
from fedbbpt_benchmarks.experiments.costs.scaling import client_share, settings_of, share
from fedbbpt_benchmarks.experiments.costs.vit_sizes import VIT_B, VIT_L, Shape

# Cao, Zhu & Gong 2024 (arXiv 2407.17533). Abstract: "a mere 0.46% of local computing resources". Experiments: bytes of
# those of full fine-tuning by FL. Appendix: run times at 54 Mbit/s down and 12 up.
CLIENT = 0.0046
COMMUNICATION = {VIT_B: 0.47, VIT_L: 0.19}
MINUTES = {"fl-full": 4.091, "sfl-full": 4.648, "sfprompt": 3.505}


def matching(methods: Mapping[str, Config], shape: Shape) -> float:
    """How many samples of a client give the published share of FL's bytes, by our formula."""
    lines = _lines(methods, shape)
    return lines["sfprompt"].meets(lines["fl-full"], COMMUNICATION[shape])


def remarks(methods: Mapping[str, Config], link: Link) -> Iterator[str]:
    """A sentence or two on each difference."""
    options = methods["sfprompt"].algorithm.options
    yield (
        "γ, U, the prompt's length, n and the cost formulas are not published. Ours: γ = {keep_fraction}, "
        "U = {local_epochs}, E = {epochs}, {num_prompt_tokens} soft tokens, head_blocks={head_blocks} and "
        "tail_blocks={tail_blocks}, unless a row says otherwise."
    ).format(**options)
    counts = [f"n = {matching(methods, shape):.0f} for {goal} ({shape.name})" for shape, goal in COMMUNICATION.items()]
    yield (
        f"Communication: by our formula it takes {' and '.join(counts)}. The columns by formula have the first of "
        f"them, from which {VIT_L.name}'s share follows. The share falls with the size of the model and rises with n."
    )
    yield _of_compute(settings_of(methods, MANY, 0, 0), settings_of(methods, MANY, 1, 1))
    yield _of_time(_lines(methods, VIT_B), link)
    yield (
        "What the published run times hold (rounds, clients, the devices that compute) is not said. Ours are a round "
        "of one client: where measured with this machine's computing, by formula the network alone."
    )


def _lines(methods: Mapping[str, Config], shape: Shape) -> dict[str, Bytes]:
    blocks = [methods["sfprompt"].algorithm.options[name] for name in ("head_blocks", "tail_blocks")]
    return {method: bytes_of(shape, setting) for method, setting in settings_of(methods, MANY, *blocks).items()}


def _of_compute(bare: Mapping[str, Setting], one: Mapping[str, Setting]) -> str:
    """By where the model is cut, and the share of samples after pruning."""

    def at(keep: float) -> float:
        return client_share(VIT_B, {**bare, "sfprompt": replace(bare["sfprompt"], keep_fraction=keep)})

    keep = 0.25 + 0.5 * (CLIENT - at(0.25)) / (at(0.75) - at(0.25))  # what the client computes is linear in γ < 1
    gives = f"γ = {keep:.2f}" if 0 < keep < 1 else "no γ"
    return (
        f"Client FLOPs: with a block at each end, {VIT_B.name}'s client computes {share(client_share(VIT_B, one))} of "
        f"FL's, with none {share(client_share(VIT_B, bare))}; {gives} would then give the published {share(CLIENT)}. "
        "If FL's client trained for ten epochs, all shares would be a tenth."
    )


def _of_time(lines: Mapping[str, Bytes], link: Link) -> str:
    """What the published run times would mean if they were the network's alone."""
    numbers = lines["fl-full"].fixed / (2 * FLOAT32)
    minutes = 8e-6 * FLOAT32 * numbers * (1 / link.down + 1 / link.up) / 60
    slower = MINUTES["sfl-full"] / MINUTES["fl-full"]
    n = lines["sfl-full"].meets(lines["fl-full"], slower)
    prompt = (lines["sfprompt"].fixed + n * lines["sfprompt"].each) / lines["fl-full"].fixed
    return (
        f"Run time: {VIT_B.name}'s {numbers / 1e6:.1f} M numbers take {minutes:.2f} min down and up at these rates, "
        f"with nothing computed; FL's published {MINUTES['fl-full']} min are fewer. By bytes alone, SFL takes "
        f"{slower:.3f} of FL's time, as published, with n = {n:.0f}, and SFPrompt then {prompt:.3f}; published is "
        f"{MINUTES['sfprompt'] / MINUTES['fl-full']:.3f}."
    )
