"""What a round costs by formula: as measured, and as written."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedbbpt.config import Config
from fedbbpt.errors import ConfigError
from fedbbpt_backends.local_vit import Network
from fedbbpt_backends.split_vit import SplitViT
from fedbbpt_benchmarks.experiments.costs.cost import Cost, Link
from fedbbpt_benchmarks.experiments.costs.formula import Setting, cost
from fedbbpt_benchmarks.experiments.costs.measure import METHODS, Stand
from fedbbpt_benchmarks.experiments.costs.scaling import settings_of
from fedbbpt_benchmarks.experiments.costs.vit_sizes import VIT_B, VIT_L, Shape, embedded_shape, shape_of

Configs = Callable[..., dict[str, Config]]


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
    method: str, options: dict[str, object], tiny: str, tiny_stand: Stand, make_configs: Configs
) -> None:
    _agree(tiny_stand, make_configs(tiny, batch_size=3, **options)[method])


@pytest.mark.parametrize("method", METHODS)
def test_the_formula_gives_what_is_measured_of_the_embedded_model(
    method: str, embedded_stand: Stand, make_configs: Configs
) -> None:
    options = (
        {"head_blocks": 2, "tail_blocks": 0, "deep_prompt": True, "activation_dtype": "bfloat16"}
        if method == "sfprompt"
        else {}
    )
    ratio = _agree(embedded_stand, make_configs(batch_size=2, keep_fraction=0.5, **options)[method])
    if method != "fl-linear":  # next to so few numbers, headers are more than 1 %
        assert ratio == pytest.approx(1, abs=0.01)


def test_a_models_parameters_are_counted(tiny: str, tiny_shape: Shape) -> None:
    for model, shape in (("embedded", embedded_shape()), (tiny, tiny_shape)):
        network = Network(model, None, "float32", "cpu", 512)
        split = SplitViT(network, head_blocks=2, tail_blocks=1, num_prompt_tokens=3, deep_prompt=True, num_classes=5)
        assert split.sizes == shape.sizes(2, 1, 2 * 3, 5)


def test_vit_b_and_vit_l_have_as_many_parameters_as_is_known() -> None:
    """86 M and 307 M by Dosovitskiy et al. 2021, table 1."""
    for shape, millions in ((VIT_B, 86), (VIT_L, 307)):
        assert sum(shape.sizes(1, 1, 0, 10).values()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_the_formulas_are_those_that_are_written(make_configs: Configs, tiny_shape: Shape) -> None:
    n, num_kept, prompt = 10, 5, 4 * 16
    settings = {
        m: Setting.of(c.algorithm.options, n, 3)
        for m, c in make_configs(num_prompt_tokens=4, keep_fraction=0.5).items()
    }
    found = {method: cost(tiny_shape, setting) for method, setting in settings.items()}
    parts, q = tiny_shape.sizes(1, 1, prompt // 16, 3), 4 * 17 * 16
    whole = sum(parts.values()) - parts["prompt"]
    assert found["fl-full"].bytes == 2 * 4 * whole
    assert found["fl-linear"].bytes == 2 * 4 * 17 * 3
    assert found["sfl-full"].bytes == 4 * q * n + 2 * 4 * (whole - parts["body"])
    assert found["sfl-linear"].bytes == 2 * q * n + 2 * 4 * 17 * 3
    longer = 4 * (17 + 4) * 16
    assert found["sfprompt"].bytes == 4 * longer * num_kept + 2 * 4 * (parts["tail"] + prompt + 17 * 3)
    assert found["sfl-full"].client + found["sfl-full"].server == found["fl-full"].client
    assert found["sfprompt"].client - found["sfprompt-no-update"].client == n * (
        tiny_shape.embedding.linear
        + 2 * sum(tiny_shape.through_block(21))
        + 96  # forward through head and tail
        + sum(tiny_shape.through_block(21))
        + tiny_shape.through_block(21).attention  # back through the head: no parameters
        + 2 * sum(tiny_shape.through_block(21))
        + 2 * 96  # back through the tail
    )


def test_a_network_takes_its_time() -> None:
    total = Cost(down=1_000_000, up=500_000, crossed_down=350_000, crossed_up=250_000, messages=6, client=0, server=0)
    assert Link(54, 12, 0.02).seconds(total) == pytest.approx(0.2 + 0.5 + 0.12)
    assert total.bytes == 2_100_000


def test_more_samples_than_there_are_are_refused(tiny: str, make_configs: Configs) -> None:
    with pytest.raises(ConfigError, match="use --samples less"):
        Stand(make_configs(tiny)["sfprompt"], 5000)


def test_other_models_and_cuts_are_refused(make_configs: Configs, tiny_shape: Shape) -> None:
    with pytest.raises(ConfigError, match="plain ViT"):
        shape_of("timm:vit", {})
    with pytest.raises(ConfigError, match="too few"):
        cost(tiny_shape, replace(settings_of(make_configs(), 5, 1, 1)["sfprompt"], head_blocks=3, tail_blocks=1))
