"""Wrong settings are refused by name: unknown keys, wrong types and sizes, and what does not go together."""

import json

import pytest

from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError, UnknownName


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"round": 3}, "unknown setting 'round'. Did you mean 'rounds'"),
        ({"data": {"shots_per_clas": 3}}, "unknown setting of data 'shots_per_clas'. Did you mean 'shots_per_class'"),
        ({"prompt": {"name": "affin"}}, "unknown prompt 'affin'. Did you mean 'affine'"),
        ({"prompt": {"epsilom": 1.0}}, "unknown option of prompt 'affine' 'epsilom'. Did you mean 'epsilon'"),
        ({"task": {"name": "folders:/x"}}, "unknown task 'folders'. Did you mean 'folder'"),
        ({"prompt": {"name": "none", "epsilon": 1.0}}, "'epsilon'. Known: none."),
        ({"optimizer": {"rng": 1}}, "'rng'"),
    ],
)
def test_unknown_names_propose_the_nearest(values, hint):
    with pytest.raises(UnknownName, match=hint):
        make_config(values)


@pytest.mark.parametrize(
    "values",
    [
        {"rounds": -1},
        {"rounds": 2.5},
        {"rounds": "many"},
        {"rounds": True},
        {"seed": -1},
        {"max_queries": 0},
        {"evaluate_every": 0},
        {"data": {"dirichlet_alpha": 0}},
        {"data": {"dirichlet_alpha": float("nan")}},
        {"data": {"clients": 0}},
        {"data": {"shots_per_class": True}},
        {"prompt": {"epsilon": -0.1}},
        {"prompt": {"epsilon": 0.0}},
        {"prompt": {"epsilon": float("inf")}},
        {"prompt": {"epsilon": True}},
        {"prompt": {"epsilon": [0.1]}},
        {"prompt": {"name": "padding", "width": 0.6}},
        {"algorithm": {"name": "fedavg", "participation": 1.1}},
        {"algorithm": {"name": "fedavg", "participation": 0}},
        {"algorithm": {"name": "fedavg", "upload": "gradients"}},
        {"algorithm": {"name": "fedavg", "loss_dtype": "float8"}},
        {"algorithm": {"name": "fedavg", "calibrate": 1}},
        {"algorithm": {"name": "fedavg", "server_optimizer": "sgd"}},
        {"algorithm": {"name": "fedavg", "server_lr": 0.0}},
        {"algorithm": {"num_prompts": 0}},
        {"optimizer": {"name": "sep-cma", "population_size": 1}},
        {"backend": {"dtype": "float8"}},
        {"backend": {"model": 3}},
    ],
)
def test_values_of_wrong_type_or_size_are_refused_by_name(values):
    ((section, value),) = values.items()
    options = [option for option in value if option != "name"] if isinstance(value, dict) else []
    with pytest.raises(ConfigError, match=r"\.".join([section, *options])):
        make_config(values)


@pytest.mark.parametrize("values", [{"data": 3}, {"prompt": "dct"}, {"task": []}, {"prompt": {"name": 3}}])
def test_sections_are_tables_with_a_name(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        make_config(values)


@pytest.mark.parametrize(
    "settings",
    [
        {"task": {"name": "csv:\udcff"}},
        {"task": {"name": "csv:x", "text_column": "\udcff"}},
        {"prompt": {"name": "discrete", "vocabulary": ["a", "\ud83d"]}},
    ],
)
def test_settings_that_no_file_can_hold(settings):
    with pytest.raises(ConfigError, match="unicode"):
        make_config(settings)


def test_long_values_are_not_repeated_in_full():
    with pytest.raises(ConfigError, match=r"^rounds: .* got \[\[\[\[+ …$"):
        make_config({"rounds": json.loads("[" * 200 + "]" * 200)})


@pytest.mark.parametrize("version", [1, 3, "2", [2]])
def test_settings_of_another_version_are_refused(version) -> None:
    with pytest.raises(ConfigError, match="this fedbbpt reads version 2"):
        make_config({"version": version, "round": 3})


@pytest.mark.parametrize(("section", "name"), [("prompt", "padding"), ("backend", "local-vit")])
def test_what_is_for_images_does_not_go_with_texts(section, name):
    with pytest.raises(
        ConfigError, match=f"{section} '{name}' does not go with texts, which the task newsgroups holds"
    ):
        make_config({"task": {"name": "newsgroups"}, section: {"name": name}})


def test_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match="nothing to train"):
        make_config({"prompt": {"name": "none"}, "readout": {"name": "identity"}})
