"""The settings that commands get without saying so, recorded before there were presets."""

from typing import Any

import pytest

from fedbbpt.config import Config, make_config, presets
from fedbbpt.config.settings import override, parse_assignment
from fedbbpt.errors import ConfigError, UnknownName

NEWS = "task.name=newsgroups"
ASKED = (NEWS, "backend.name=openai", "backend.model=any")

# command: rounds; backend, prompt, readout, optimizer and algorithm with the options that are not the class's defaults
RECORDED: dict[tuple[str, ...], tuple[int, str]] = {
    (): (5, "local-vit affine linear random+11 ensemble+1"),
    ("algorithm.name=fedavg",): (25, "local-vit affine linear spsa-gc fedavg"),
    ("algorithm.name=local",): (25, "local-vit affine linear spsa-gc local"),
    ("algorithm.name=fedbpt",): (25, "local-vit affine linear sep-cma fedbpt"),
    ("algorithm.name=sfprompt",): (20, "local-vit none none spsa-gc sfprompt"),
    ("algorithm.name=gossip-sfprompt",): (20, "local-vit none none spsa-gc gossip-sfprompt"),
    ("algorithm.name=sfprompt", "rounds=3"): (3, "local-vit none none spsa-gc sfprompt"),
    ("optimizer.name=spsa-gc",): (25, "local-vit affine linear spsa-gc fedavg"),
    ("optimizer.name=cma",): (25, "local-vit affine linear cma fedavg"),
    ("prompt.name=none",): (1, "local-vit none linear spsa-gc fedavg"),
    ("readout.name=identity",): (25, "local-vit affine identity spsa-gc fedavg"),
    (NEWS,): (1, "hf-text none linear spsa-gc fedavg"),
    (NEWS, "backend.model=smollm2"): (3, "hf-text instruction linear+0.05 random+4 ensemble+4"),
    ASKED: (3, "openai instruction linear+0.05 random+4 ensemble+4"),
    (*ASKED, "algorithm.num_prompts=2"): (3, "openai instruction linear+0.05 random+4 ensemble+2"),
    (*ASKED, "prompt.name=discrete"): (3, "openai discrete linear+0.05 random+4 ensemble+4"),
    (*ASKED, "algorithm.name=fedavg"): (25, "openai instruction linear+0.05 bdpl fedavg"),
    (*ASKED, "prompt.name=none"): (1, "openai none linear+0.05 spsa-gc fedavg"),
    (*ASKED, "readout.name=contextual-calibration"): (25, "openai instruction contextual-calibration bdpl fedavg"),
}
# Class defaults.
DECIDED = {"readout": ("l2", 0.004), "optimizer": ("population_size", 8), "algorithm": ("num_prompts", 8)}
TRAINS = ("backend", "prompt", "readout", "optimizer", "algorithm")


def configured(assignments: tuple[str, ...], preset: str | None = None) -> Config:
    settings: dict[str, Any] = {}
    for assignment in assignments:
        override(settings, *parse_assignment(assignment))
    return make_config(settings, preset)


def components_of(config: Config) -> str:
    words = []
    for section in TRAINS:
        component = getattr(config, section)
        option, default = DECIDED.get(section, ("", None))
        differs = component.name in ("linear", "random", "ensemble") and component.options[option] != default
        words.append(f"{component.name}+{component.options[option]}" if differs else component.name)
    return " ".join(words)


@pytest.mark.parametrize("command", RECORDED, ids=" ".join)
def test_commands_get_the_settings_that_were_recorded(command: tuple[str, ...]) -> None:
    config = configured(command)
    assert (config.rounds, components_of(config)) == RECORDED[command]


@pytest.mark.parametrize(
    ("preset", "command", "implying"),
    [
        ("split", (), ("algorithm.name=sfprompt",)),
        ("split", ("rounds=3", "algorithm.lr=0.2"), ("algorithm.name=sfprompt", "rounds=3", "algorithm.lr=0.2")),
        ("single-prompt", (), ("algorithm.name=fedavg",)),
        ("single-prompt", ("algorithm.name=fedbpt",), ("algorithm.name=fedbpt",)),
        ("single-prompt", ASKED, (*ASKED, "algorithm.name=fedavg")),
        ("single-prompt", ("optimizer.name=cma",), ("optimizer.name=cma",)),
        ("language-model", ASKED, ASKED),
        ("language-model", (*ASKED, "rounds=5"), (*ASKED, "rounds=5")),
    ],
)
def test_a_preset_that_is_asked_for_is_the_one_that_settings_imply(
    preset: str, command: tuple[str, ...], implying: tuple[str, ...]
) -> None:
    assert configured(command, preset) == configured(implying)


@pytest.mark.parametrize(
    ("preset", "command", "expected"),
    [
        ("best", (), "local-vit affine linear random ensemble"),
        ("best", ("algorithm.num_prompts=4",), "local-vit affine linear random ensemble+4"),
        ("best", ASKED, "openai instruction linear+0.05 random ensemble"),
        ("fed-bbpt", (), "local-vit coordinator identity spsa-gc fedavg"),
        ("blackvip", (), "local-vit coordinator identity spsa-gc fedavg"),
        ("fed-bbpt", ("readout.name=linear",), "local-vit coordinator linear spsa-gc fedavg"),
        ("fed-bbpt", ("algorithm.name=fedbpt",), "local-vit coordinator identity sep-cma fedbpt"),
        (
            "fed-bbpt",
            ("algorithm.name=ensemble", "optimizer.name=random", "readout.name=linear"),
            "local-vit coordinator linear random ensemble",
        ),
        ("dfedavg", (), "local-vit affine linear spsa gossip"),
        ("dfedavgm", ("prompt.name=none",), "local-vit none linear spsa-gc gossip"),
        ("dfedsam", (), "local-vit affine linear zo-sam gossip"),
        ("dfedsam-mgs", ("prompt.name=dct",), "local-vit dct linear zo-sam gossip"),
        ("fed-bbpt", ("algorithm.name=sfprompt",), "local-vit none none spsa-gc sfprompt"),
        ("fed-bbpt", ("algorithm.name=gossip-sfprompt",), "local-vit none none spsa-gc gossip-sfprompt"),
        ("dfedsam-mgs", ("algorithm.name=gossip-sfprompt",), "local-vit none none zo-sam gossip-sfprompt"),
    ],
)
def test_a_preset_of_a_paper_is_its_method(preset: str, command: tuple[str, ...], expected: str) -> None:
    config = configured(command, preset)
    assert components_of(config) == expected
    assert config.rounds == (7 if preset == "best" else 20 if "sfprompt" in expected else 25)


def test_presets_without_a_server_are_for_all_that_neighbours_average() -> None:
    for preset in ("dfedavg", "dfedavgm", "dfedsam", "dfedsam-mgs"):
        prompts, parts = (configured(command, preset) for command in ((), ("algorithm.name=gossip-sfprompt",)))
        for option in ("momentum", "rho", "gossip_steps"):
            assert parts.algorithm.options[option] == prompts.algorithm.options[option]
    assert (
        configured(("algorithm.name=gossip-sfprompt", "algorithm.rho=0.1"), "dfedsam").algorithm.options["rho"] == 0.1
    )


def test_blackvip_has_the_published_settings_in_our_units() -> None:
    ours, published = configured((), "fed-bbpt"), configured((), "blackvip")
    assert published.prompt.options["epsilon"] == pytest.approx(0.3 * 0.27)
    assert published.prompt.options["decoder_init"] == "random"
    gains = {"a": 0.01 / 0.05**2, "c": 0.01 / 0.05, "alpha": 0.4, "gamma": 0.1, "stability_constant": 1.0, "beta": 0.9}
    assert published.optimizer.options == pytest.approx(gains | {"num_directions": 5})
    assert (published.algorithm.options["calibrate"], ours.algorithm.options["calibrate"]) == (False, True)
    assert published.algorithm.options["batch_size"] == 128
    own = configured(("optimizer.c=0.1", "rounds=2"), "blackvip")
    assert (own.optimizer.options["c"], own.optimizer.options["a"], own.rounds) == (0.1, 4.0, 2)


def test_presets_of_papers_are_for_images() -> None:
    with pytest.raises(ConfigError, match="prompt 'coordinator' does not go with texts"):
        configured((NEWS,), "fed-bbpt")


def test_a_preset_leaves_no_trace_in_the_config() -> None:
    assert "preset" not in configured((), "split").to_toml()
    with pytest.raises(UnknownName, match="unknown setting 'preset'"):
        make_config({"preset": "split"})


def test_presets_for_texts_do_not_go_with_images() -> None:
    with pytest.raises(ConfigError, match="prompt 'instruction' does not go with images"):
        make_config({}, "language-model")


@pytest.mark.parametrize("name", ["default", "text", "splitt", ""])
def test_an_unknown_preset_is_refused(name: str) -> None:
    with pytest.raises(UnknownName, match=r"unknown preset .*The nearest of 10: [\w-]+(, [\w-]+){4}\.$"):
        make_config({}, name)


def test_every_preset_names_components_of_its_sections() -> None:
    for preset in presets.PRESETS.values():
        assert set(preset) - {"rounds"} <= set(presets.SECTIONS)
        assert all("name" in preset[section] for section in set(preset) - {"rounds"})
    assert set(presets.SELECTABLE) < set(presets.PRESETS)
