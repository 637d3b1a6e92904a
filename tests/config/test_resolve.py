import json
import tomllib

import pytest

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.config.components import modalities_of
from fedbbpt.config.presets import DEFAULTS
from fedbbpt.config.schema import VERSION
from fedbbpt.errors import ConfigError, UnknownName


def name_of(section, name):
    return {("task", "folder"): "folder:/some/folder", ("prompt", "subspace"): "subspace:dct"}.get(
        (section, name), name
    )


COMPONENTS = [(section, name_of(section, name)) for section in DEFAULTS for name in registry.names(f"{section}s")]


def test_defaults_name_every_section():
    config = make_config({})
    assert {section: getattr(config, section).name for section in DEFAULTS} == DEFAULTS
    assert config.max_queries is None
    assert config.data.dirichlet_alpha is None


def test_defaults_of_options_are_filled_in():
    assert make_config({}).algorithm.options == {"num_prompts": 8}
    assert make_config({"optimizer": {"name": "spsa-gc"}}).optimizer.options["beta"] == 0.9


def test_given_settings_win():
    config = make_config({"rounds": 3, "data": {"shots_per_class": 2}, "prompt": {"name": "dct", "epsilon": 0.2}})
    assert (config.rounds, config.data.shots_per_class, config.data.clients) == (3, 2, None)
    assert config.prompt.options == {"epsilon": 0.2, "frequencies": 6}


LANGUAGE = {"task": {"name": "newsgroups"}, "backend": {"model": "smollm2"}}


@pytest.mark.parametrize(
    "backend",
    [{"model": "smollm2"}, {"model": "hf:x", "classifier": "verbalizer"}, {"model": "hf:x", "classifier": "generated"}],
)
def test_a_language_model_gets_instructions(backend):
    config = make_config({"task": {"name": "newsgroups"}, "backend": backend})
    assert (config.rounds, config.prompt.name, config.algorithm.name) == (3, "instruction", "ensemble")
    assert (config.readout.options["l2"], config.optimizer.options["population_size"]) == (0.05, 4)
    assert config.algorithm.options == {"num_prompts": 4}
    assert make_config({"task": {"name": "newsgroups"}, "backend": {"model": "minilm"}}).prompt.name == "none"


def test_given_settings_win_over_those_of_a_language_model():
    changed = {
        "rounds": 5,
        "algorithm": {"num_prompts": 2},
        "readout": {"max_evaluations": 3},
        "optimizer": {"name": "random"},
    }
    config = make_config(LANGUAGE | changed)
    assert (config.rounds, config.algorithm.options["num_prompts"]) == (5, 2)
    assert config.readout.options == {"l2": 0.05, "max_evaluations": 3}
    assert config.optimizer.options["population_size"] == 4


@pytest.mark.parametrize(
    ("changed", "algorithm", "optimizer"),
    [
        ({"prompt": {"name": "none"}}, "fedavg", "spsa-gc"),
        ({"readout": {"name": "contextual-calibration"}}, "fedavg", "bdpl"),
        ({"optimizer": {"name": "bandit"}}, "fedavg", "bandit"),
        ({"prompt": {"name": "soft"}, "algorithm": {"name": "fedbpt"}}, "fedbpt", "sep-cma"),
    ],
)
def test_one_prompt_for_a_language_model_has_the_usual_rounds(changed, algorithm, optimizer):
    config = make_config(LANGUAGE | changed)
    assert (config.rounds, config.algorithm.name, config.optimizer.name) == (7, algorithm, optimizer)
    assert "num_prompts" not in config.algorithm.options


def test_options_without_a_name_belong_to_the_default():
    config = make_config({"algorithm": {"num_prompts": 7}, "optimizer": {"population_size": 3}})
    assert (config.algorithm.name, config.algorithm.options) == ("ensemble", {"num_prompts": 7})
    assert (config.optimizer.name, config.optimizer.options["population_size"]) == ("random", 3)
    config = make_config({"readout": {"name": "identity"}, "algorithm": {"local_steps": 7}, "optimizer": {"beta": 0.5}})
    assert (config.algorithm.name, config.algorithm.options["local_steps"]) == ("fedavg", 7)
    assert (config.optimizer.name, config.optimizer.options["beta"]) == ("spsa-gc", 0.5)


@pytest.mark.parametrize(
    ("values", "algorithm", "optimizer"),
    [
        ({"prompt": "dct"}, "ensemble", "random"),
        ({"readout": "linear"}, "ensemble", "random"),
        ({"optimizer": "random"}, "ensemble", "random"),
        ({"algorithm": "ensemble"}, "ensemble", "random"),
        ({"readout": "identity"}, "fedavg", "spsa-gc"),
        ({"readout": "prototypes"}, "fedavg", "spsa-gc"),
        ({"prompt": "none"}, "fedavg", "spsa-gc"),
        ({"task": "newsgroups"}, "fedavg", "spsa-gc"),
        ({"algorithm": "fedavg"}, "fedavg", "spsa-gc"),
        ({"algorithm": "local"}, "local", "spsa-gc"),
        ({"optimizer": "cma"}, "fedavg", "cma"),
        ({"optimizer": "random", "algorithm": "fedavg"}, "fedavg", "random"),
        ({"optimizer": "cma", "algorithm": "ensemble"}, "ensemble", "cma"),
        ({"optimizer": "random", "readout": "identity"}, "fedavg", "random"),
    ],
)
def test_one_prompt_is_tuned_where_there_is_no_choosing_among_many(values, algorithm, optimizer):
    config = make_config({section: {"name": name} for section, name in values.items()})
    assert (config.algorithm.name, config.optimizer.name) == (algorithm, optimizer)
    assert make_config(tomllib.loads(config.to_toml())) == config


def test_a_task_of_texts_has_other_defaults_which_may_be_overruled():
    texts = {"task": {"name": "newsgroups"}}
    config = make_config(texts)
    assert (config.backend.name, config.prompt.name) == ("hf-text", "none")
    named = make_config(texts | {"backend": {"model": "bert-tiny"}, "prompt": {"name": "none"}})
    assert (named.backend.name, named.backend.options["model"]) == ("hf-text", "bert-tiny")


@pytest.mark.parametrize(("section", "name"), [("prompt", "padding"), ("backend", "local-vit")])
def test_what_is_for_images_does_not_go_with_texts(section, name):
    with pytest.raises(
        ConfigError, match=f"{section} '{name}' does not go with texts, which the task newsgroups holds"
    ):
        make_config({"task": {"name": "newsgroups"}, section: {"name": name}})


def test_given_settings_stay_as_they_are():
    values = {"data": {"shots_per_class": 2}, "prompt": {"name": "dct"}}
    make_config(values)
    assert values == {"data": {"shots_per_class": 2}, "prompt": {"name": "dct"}}


@pytest.mark.parametrize(("section", "name"), COMPONENTS)
def test_every_component_survives_toml(section, name):
    texts = name == "hf-text" or (section == "prompt" and "image" not in modalities_of(name))
    task = {"task": {"name": "newsgroups"}} if texts else {}
    needed = {"endpoint_file": "service.toml"} if name == "http-json" else {}
    cut = {"algorithm": {"name": "sfprompt"}} if (section, name) == ("readout", "none") else {}
    config = make_config(task | cut | {section: {"name": name} | needed})
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


def test_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match="nothing to train"):
        make_config({"prompt": {"name": "none"}, "readout": {"name": "identity"}})


def test_settings_of_a_config_make_the_same_config() -> None:
    config = make_config({"prompt": {"name": "padding"}, "data": {"clients": 3}})
    assert config.to_settings()["prompt"] == {"name": "padding"} | config.prompt.options
    assert make_config(config.to_settings()) == config


def test_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        make_config({}).rounds = 3


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


def test_a_readout_of_nothing_is_for_models_that_are_cut() -> None:
    assert make_config({"algorithm": {"name": "sfprompt"}}).readout.name == "none"
    with pytest.raises(ConfigError, match="for algorithms that split the model"):
        make_config({"readout": {"name": "none"}})


def test_a_split_model_is_trained_for_more_rounds() -> None:
    assert make_config({"algorithm": {"name": "sfprompt"}}).rounds == 20
    assert make_config({"algorithm": {"name": "sfprompt"}, "rounds": 3}).rounds == 3


def test_settings_of_the_same_version_are_read() -> None:
    assert make_config({"version": VERSION}) == make_config({})


@pytest.mark.parametrize("version", [1, 3, "2", [2]])
def test_settings_of_another_version_are_refused(version) -> None:
    with pytest.raises(ConfigError, match="this fedbbpt reads version 2"):
        make_config({"version": version, "round": 3})
