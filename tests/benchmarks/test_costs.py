"""What a round costs: counted by hand, measured, and by formula."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from fedbbpt.config import Config
from fedbbpt.errors import ConfigError, RunError
from fedbbpt_backends.local_vit import Network
from fedbbpt_backends.split_vit import SplitViT
from fedbbpt_backends.torchvision_compat import ensure_importable
from fedbbpt_benchmarks.bench import results
from fedbbpt_benchmarks.bench.plan import Bench, Cell
from fedbbpt_benchmarks.experiments.costs.__main__ import main
from fedbbpt_benchmarks.experiments.costs.accuracies import accuracies
from fedbbpt_benchmarks.experiments.costs.break_even import Bytes, bytes_of
from fedbbpt_benchmarks.experiments.costs.cost import Cost, Link
from fedbbpt_benchmarks.experiments.costs.formula import Setting, cost
from fedbbpt_benchmarks.experiments.costs.instrumented import Instrument, InstrumentedSplit
from fedbbpt_benchmarks.experiments.costs.measure import METHODS, Stand, configs
from fedbbpt_benchmarks.experiments.costs.memory import Memory
from fedbbpt_benchmarks.experiments.costs.meters import Flops
from fedbbpt_benchmarks.experiments.costs.paper_claims import matching, remarks
from fedbbpt_benchmarks.experiments.costs.scaling import by_size, settings_of
from fedbbpt_benchmarks.experiments.costs.vit_sizes import VIT_B, VIT_L, Shape, embedded_shape, shape_of

ensure_importable()
ALL = frozenset({"prompt", "head", "body", "tail", "classifier"})
DIGITS = {i: str(i) for i in range(10)}
TINY = Shape("tiny", blocks=4, width=16, mlp=48, patches=16, patch=8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random ViT of another shape than the embedded one, with a head for digits."""
    import transformers

    folder = tmp_path_factory.mktemp("tiny")
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48}
    labels = {"id2label": DIGITS, "label2id": {name: i for i, name in DIGITS.items()}}
    config = transformers.ViTConfig(**sizes, **labels, image_size=32, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")
    return f"dir:{folder}"


@functools.cache
def _configs(model: str = "embedded", **options: object) -> dict[str, Config]:
    algorithm = {"name": "sfprompt", **options}
    return configs("digits", {"algorithm": algorithm, "backend": {"name": "local-vit", "model": model}})


@pytest.fixture(scope="module")
def tiny_stand(tiny: str) -> Stand:
    return Stand(_configs(tiny)["sfprompt"], 7)


@pytest.fixture(scope="module")
def embedded_stand() -> Stand:
    return Stand(_configs()["sfprompt"], 3)


# what the meters see


def test_flops_are_those_counted_by_hand(tiny: str) -> None:
    """Attention by SDPBackend.MATH and the layers under functional_call are seen, forward and back."""
    split = SplitViT(
        Network(tiny, None, "float32", "cpu", 512),
        head_blocks=1,
        tail_blocks=1,
        num_prompt_tokens=0,
        deep_prompt=False,
        num_classes=3,
    )
    parameters, images = split.init(0), np.zeros((2, 3, 32, 32), np.float32)
    embedding = 2 * 16 * (3 * 8 * 8) * 16  # 16 patches of 3·8² pixels, 16 filters
    linear = 2 * 17 * (4 * 16 * 16 + 2 * 16 * 48)  # 17 tokens; q, k, v, output; two layers of the MLP
    attention = 2 * 2 * 17 * 17 * 16  # QKᵀ, and its product with V
    assert (embedding, linear, attention) == (98_304, 87_040, 18_496)
    for trained, back in (
        (ALL - {"prompt"}, {"head": embedding + 2 * linear, "body": 4 * linear, "tail": 2 * linear + 2 * 96}),
        ({"body", "tail"}, {"head": None, "body": 4 * linear, "tail": 2 * linear + 96}),
    ):
        flops = Flops()
        watched = InstrumentedSplit(split, Instrument(flops, "server"))
        head = watched.head(parameters, images, frozenset(trained))
        assert flops.of == {"client": 2 * (embedding + linear + attention), "server": 0}
        body = watched.body(parameters, head.values, frozenset(trained))
        assert flops.of["server"] == 2 * 2 * (linear + attention)
        before = dict(flops.of)
        judged = watched.tail(parameters, body.values, np.array([0, 1]), frozenset(trained))
        assert flops.of["client"] - before["client"] == 2 * (linear + attention + 96 + back["tail"] + 2 * attention)
        backward = body.vjp(judged.values)
        if "head" in trained:
            assert flops.of["server"] - before["server"] == 2 * (back["body"] + 2 * 2 * attention)
            before = dict(flops.of)
            head.vjp(backward.values)
            assert flops.of["client"] - before["client"] == 2 * (back["head"] + 2 * attention)


def test_memory_is_that_counted_by_hand() -> None:
    """Two layers without biases on a batch of 2, 8 → 16 → 4, then back; 4 bytes a number."""
    net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.ReLU(), nn.Linear(16, 4, bias=False))
    x, memory = torch.ones(2, 8), Memory()
    with memory("client"):
        y = net(x)  # hidden 128 and behind the ReLU 128, which alone is kept; then 32
    assert memory.peak == {"client": 256, "server": 0}
    with memory("client"):
        gradients = torch.autograd.grad(y, list(net.parameters()), torch.ones(2, 4))
    # y and the ones 32 each, 256 for the second layer's weights, 128 before the ReLU, 512 for the first layer's
    assert memory.peak == {"client": 2 * 32 + 256 + 128 + 512, "server": 0}
    assert [g.nbytes for g in gradients] == [512, 256]


def test_memory_counts_for_the_side_that_made_it_until_it_is_freed() -> None:
    memory, given = Memory(), torch.ones(100)
    with memory("client"):
        made = given * 2  # 400 bytes
        assert made.view(10, 10).t().shape == (10, 10)  # a view is nothing new
        made.add_(1)  # nor is a change in place
        given.view(-1)
    assert memory.peak == {"client": 400, "server": 0}
    array = made.numpy()
    del made  # the array still holds it
    with memory("server"):
        torch.zeros(50)
        torch.zeros(30)  # the other is gone
    with memory("client"):
        torch.zeros(25)
    assert memory.peak == {"client": 500, "server": 200}
    del array
    with memory("client"):
        torch.zeros(110)
    assert memory.peak == {"client": 500, "server": 200}


def test_a_rounds_memory_is_the_same_again(tiny: str, tiny_stand: Stand) -> None:
    config = _configs(tiny, batch_size=3)["sfl-full"]
    one, other = (tiny_stand.remembered(config) for _ in range(2))
    assert one == other
    parameters = TINY.sizes(1, 1, 0, 10)
    assert one["server"].held == 4 * parameters["body"]
    assert one["client"].held == 4 * (sum(parameters.values()) - parameters["body"])
    assert all(memories.live > memories.held for memories in one.values())
    whole = tiny_stand.remembered(_configs(tiny)["fl-full"])
    assert whole["client"].held == 4 * sum(parameters.values())
    assert whole["server"] == (0, 0)


# formula and measurement


def _agree(stand: Stand, config: Config) -> float:
    """Bytes measured by those of the formula, all of them."""
    measured, formula = stand.counted(config), cost(stand.shape, stand.setting(config))
    for whole, part in ((measured.down, formula.down), (measured.up, formula.up)):
        assert 0 < whole - part < 600  # a header of safetensors, which names up to five parts
    for whole, part in (
        (measured.crossed_down, formula.crossed_down),
        (measured.crossed_up, formula.crossed_up),
    ):
        assert 0 <= whole - part <= 200 * (measured.messages - 2) / 2
    assert (measured.messages, measured.client, measured.server) == formula[-3:]
    return measured.bytes / formula.bytes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options",
    [
        {"num_prompt_tokens": 4, "activation_dtype": "int8"},
        {
            "head_blocks": 2,
            "num_prompt_tokens": 3,
            "deep_prompt": True,
            "activation_dtype": "bfloat16",
            "local_epochs": 2,
        },
        {"head_blocks": 0, "tail_blocks": 0, "num_prompt_tokens": 4, "keep_fraction": 0.3, "epochs": 2},
        {"head_blocks": 0, "num_prompt_tokens": 2, "deep_prompt": True, "activation_dtype": "int8"},
        {"head_blocks": 3, "tail_blocks": 0, "num_prompt_tokens": 1, "deep_prompt": True},
        {"tail_blocks": 2, "num_prompt_tokens": 0},
    ],
)
def test_the_formula_gives_what_is_measured(
    method: str, options: dict[str, object], tiny: str, tiny_stand: Stand
) -> None:
    _agree(tiny_stand, _configs(tiny, batch_size=3, **options)[method])


@pytest.mark.parametrize("method", METHODS)
def test_the_formula_gives_what_is_measured_of_the_embedded_model(method: str, embedded_stand: Stand) -> None:
    options = (
        {"head_blocks": 2, "tail_blocks": 0, "deep_prompt": True, "activation_dtype": "bfloat16"}
        if method == "sfprompt"
        else {}
    )
    ratio = _agree(embedded_stand, _configs(batch_size=2, keep_fraction=0.5, **options)[method])
    if method != "fl-linear":  # next to so few numbers, headers are more than 1 %
        assert ratio == pytest.approx(1, abs=0.01)


def test_a_models_parameters_are_counted(tiny: str) -> None:
    for model, shape in (("embedded", embedded_shape()), (tiny, TINY)):
        network = Network(model, None, "float32", "cpu", 512)
        split = SplitViT(network, head_blocks=2, tail_blocks=1, num_prompt_tokens=3, deep_prompt=True, num_classes=5)
        assert split.sizes == shape.sizes(2, 1, 2 * 3, 5)


def test_vit_b_and_vit_l_have_as_many_parameters_as_is_known() -> None:
    """86 M and 307 M by Dosovitskiy et al. 2021, table 1."""
    for shape, millions in ((VIT_B, 86), (VIT_L, 307)):
        assert sum(shape.sizes(1, 1, 0, 10).values()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_the_formulas_are_those_that_are_written() -> None:
    n, kept, prompt = 10, 5, 4 * 16
    settings = {
        m: Setting.of(c.algorithm.options, n, 3) for m, c in _configs(num_prompt_tokens=4, keep_fraction=0.5).items()
    }
    found = {method: cost(TINY, setting) for method, setting in settings.items()}
    parts, q = TINY.sizes(1, 1, prompt // 16, 3), 4 * 17 * 16
    whole = sum(parts.values()) - parts["prompt"]
    assert found["fl-full"].bytes == 2 * 4 * whole
    assert found["fl-linear"].bytes == 2 * 4 * 17 * 3
    assert found["sfl-full"].bytes == 4 * q * n + 2 * 4 * (whole - parts["body"])
    assert found["sfl-linear"].bytes == 2 * q * n + 2 * 4 * 17 * 3
    longer = 4 * (17 + 4) * 16
    assert found["sfprompt"].bytes == 4 * longer * kept + 2 * 4 * (parts["tail"] + prompt + 17 * 3)
    assert found["sfl-full"].client + found["sfl-full"].server == found["fl-full"].client
    assert found["sfprompt"].client - found["sfprompt-no-update"].client == n * (
        TINY.embedding.linear
        + 2 * sum(TINY.through_block(21))
        + 96  # forward through head and tail
        + sum(TINY.through_block(21))
        + TINY.through_block(21).attention  # back through the head: no parameters
        + 2 * sum(TINY.through_block(21))
        + 2 * 96  # back through the tail
    )


def test_a_network_takes_its_time() -> None:
    spent = Cost(down=1_000_000, up=500_000, crossed_down=350_000, crossed_up=250_000, messages=6, client=0, server=0)
    assert Link(54, 12, 0.02).seconds(spent) == pytest.approx(0.2 + 0.5 + 0.12)
    assert spent.bytes == 2_100_000


# by size, and beside what is published


def test_bytes_are_a_line_over_the_samples() -> None:
    setting = settings_of(_configs(), 500, 1, 1)["sfprompt"]
    line = bytes_of(VIT_B, setting)
    assert line.fixed + 500 * line.each == pytest.approx(cost(VIT_B, setting).bytes, rel=1e-9)
    assert Bytes(10, 1).meets(Bytes(40, 0), 0.5) == 10
    assert Bytes(10, 1).within(Bytes(40, 0), 0.5) == "n ≲ 10"
    assert Bytes(30, 1).within(Bytes(40, 4), 0.5) == "n ≳ 10"
    assert Bytes(10, 1).within(Bytes(40, 4), 0.5) == "any n"
    assert Bytes(30, 3).within(Bytes(40, 4), 0.5) == "no n"


def test_the_published_share_is_met() -> None:
    methods = _configs()
    n = round(matching(methods, VIT_L))
    found = {method: cost(VIT_L, setting) for method, setting in settings_of(methods, n, 1, 1).items()}
    assert found["sfprompt"].bytes / found["fl-full"].bytes == pytest.approx(0.19, abs=0.005)
    said = list(remarks(methods, Link(54, 12, 0.02)))
    assert f"n = {n} for 0.19 (ViT-L/16)" in said[1]


def test_published_accuracies_stand_beside_those_of_a_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = {"sfl-linear": (0.70, 0.72), "sfprompt": (0.74, 0.74)}  # by seed

    def read(_: Path, cell: Cell) -> dict[str, object] | None:
        if cell.task == "shapes":
            return None if cell.seed == 2 else {"error": None, "accuracy": 0.1}
        return {"error": None, "accuracy": reached[cell.method][cell.seed - 1] + 0.1 * (cell.task == "stripes")}

    monkeypatch.setattr(results, "read", read)
    settings = {"data": {"dirichlet_alpha": 0.1, "shots_per_class": 8}}
    Bench(("digits", "shapes", "stripes"), tuple(reached), (1, 2), settings, "sfl-linear").save(tmp_path)
    lines = accuracies([tmp_path]).splitlines()
    assert lines[2] == "| Caltech101, published | IID | 92.62 | 94.04 | +1.42 |"
    assert (
        lines[-1]
        == "| ours; tasks: 2, examples a class: 8, seeds: 2 | α = 0.1 | 76.0 ± 1.4 | 79.0 ± 0.0 | +3.0 ± 1.4 |"
    )
    Bench(("shapes",), tuple(reached), (1, 2), settings, "sfl-linear").save(tmp_path / "unfinished")
    with pytest.raises(RunError, match="no task that sfl-linear and sfprompt have finished"):
        accuracies([tmp_path / "unfinished"])


def test_every_size_and_cut_has_a_row() -> None:
    lines = by_size(_configs(), (40, 1000)).splitlines()
    assert len(lines) == 2 + 3 * 4
    assert len({line.count("|") for line in lines}) == 1


def test_it_prints_all_and_keeps_what_was_measured(tiny: str, tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    done = CliRunner().invoke(main, ["--model", tiny, "--samples", "3", "--json", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.count("| sfprompt |") == 4
    kept = json.loads(file.read_text())
    assert list(kept["methods"]) == list(METHODS)
    assert set(kept["methods"]["sfprompt"]) == {"cost", "formula", "memory", "times"}


# what does not go


def test_more_samples_than_there_are_are_refused(tiny: str) -> None:
    with pytest.raises(ConfigError, match="use --samples less"):
        Stand(_configs(tiny)["sfprompt"], 5000)


def test_other_models_and_cuts_are_refused() -> None:
    with pytest.raises(ConfigError, match="plain ViT"):
        shape_of("timm:vit", {})
    with pytest.raises(ConfigError, match="too few"):
        cost(TINY, replace(settings_of(_configs(), 5, 1, 1)["sfprompt"], head_blocks=3, tail_blocks=1))
