"""A config is frozen, and the same again when it is read from its TOML."""

import tomllib

import pytest

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.config.components import modalities_of
from fedbbpt.config.presets import DEFAULTS
from fedbbpt.config.schema import VERSION

WITH_ARGUMENT = {"folder": "folder:/some/folder", "subspace": "subspace:dct"}
COMPONENTS = [
    (section, WITH_ARGUMENT.get(name, name)) for section in DEFAULTS for name in registry.names(f"{section}s")
]


@pytest.mark.parametrize(("section", "name"), COMPONENTS)
def test_every_component_survives_toml(section, name):
    texts = name == "hf-text" or (section == "prompt" and "image" not in modalities_of(name))
    task = {"task": {"name": "newsgroups"}} if texts else {}
    needed = {"http-json": {"endpoint_file": "service.toml"}, "sites": {"modality": "image"}}.get(name, {})
    split = {"algorithm": {"name": "sfprompt"}} if (section, name) == ("readout", "none") else {}
    config = make_config(task | split | {section: {"name": name} | needed})
    assert make_config(tomllib.loads(config.to_toml())) == config


@pytest.mark.parametrize(
    "values",
    [
        {"max_queries": 10**12, "seed": 0},
        {"data": {"dirichlet_alpha": float("inf")}},
        {"data": {"dirichlet_alpha": 0.1 + 0.2}},
        {"backend": {"model": 'dir:C:\\new "ö"\n'}},
        {"optimizer": {"name": "sep-cma", "population_size": 5, "sigma": 1e-300}},
        {"prompt": {"name": "padding", "width": 1 / 3}},
    ],
)
def test_settings_survive_toml(values):
    config = make_config(values)
    assert make_config(tomllib.loads(config.to_toml())) == config
    assert config != make_config({})


def test_settings_of_a_config_make_the_same_config() -> None:
    config = make_config({"prompt": {"name": "padding"}, "data": {"clients": 3}})
    assert config.to_settings()["prompt"] == {"name": "padding"} | config.prompt.options
    assert make_config(config.to_settings()) == config


def test_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        make_config({}).rounds = 3


def test_settings_of_the_same_version_are_read() -> None:
    assert make_config({"version": VERSION}) == make_config({})
