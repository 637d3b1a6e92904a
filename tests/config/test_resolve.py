"""Settings become a config: given ones win, and the defaults follow from the task, the model and the algorithm."""

import tomllib

import pytest

from fedbbpt.config import make_config
from fedbbpt.config.presets import DEFAULTS
from fedbbpt.errors import ConfigError

LANGUAGE_MODEL = {"task": {"name": "newsgroups"}, "backend": {"model": "smollm2"}}


def test_defaults_name_every_section():
    config = make_config({})
    assert {section: getattr(config, section).name for section in DEFAULTS} == DEFAULTS
    assert config.max_queries is None
    assert config.data.dirichlet_alpha is None


def test_defaults_of_options_are_filled_in():
    assert make_config({}).algorithm.options == {"num_prompts": 1, "prompt_decay": 0.1, "selection": "greedy"}
    assert make_config({"optimizer": {"name": "spsa-gc"}}).optimizer.options["beta"] == 0.9


def test_given_settings_win():
    config = make_config({"rounds": 3, "data": {"shots_per_class": 2}, "prompt": {"name": "dct", "epsilon": 0.2}})
    assert (config.rounds, config.data.shots_per_class, config.data.clients) == (3, 2, None)
    assert config.prompt.options == {"epsilon": 0.2, "frequencies": 6}


@pytest.mark.parametrize(
    "backend",
    [{"model": "smollm2"}, {"model": "hf:x", "classifier": "verbalizer"}, {"model": "hf:x", "classifier": "generated"}],
)
def test_a_language_model_gets_instructions(backend):
    config = make_config({"task": {"name": "newsgroups"}, "backend": backend})
    assert (config.rounds, config.prompt.name, config.algorithm.name) == (3, "instruction", "ensemble")
    assert (config.readout.options["l2"], config.optimizer.options["population_size"]) == (0.05, 4)
    assert config.algorithm.options == {"num_prompts": 4, "prompt_decay": 0.1, "selection": "greedy"}
    assert make_config({"task": {"name": "newsgroups"}, "backend": {"model": "minilm"}}).prompt.name == "none"


def test_given_settings_win_over_those_of_a_language_model():
    changed = {
        "rounds": 5,
        "algorithm": {"num_prompts": 2},
        "readout": {"max_evaluations": 3},
        "optimizer": {"name": "random"},
    }
    config = make_config(LANGUAGE_MODEL | changed)
    assert (config.rounds, config.algorithm.options["num_prompts"]) == (5, 2)
    assert config.readout.options == {"l2": 0.05, "max_evaluations": 3}
    assert config.optimizer.options["population_size"] == 4


@pytest.mark.parametrize(
    ("changed", "rounds", "algorithm", "optimizer"),
    [
        ({"prompt": {"name": "none"}}, 1, "fedavg", "spsa-gc"),
        ({"readout": {"name": "contextual-calibration"}}, 25, "fedavg", "bdpl"),
        ({"optimizer": {"name": "bandit"}}, 25, "fedavg", "bandit"),
        ({"prompt": {"name": "soft"}, "algorithm": {"name": "fedbpt"}}, 25, "fedbpt", "sep-cma"),
    ],
)
def test_one_prompt_for_a_language_model_has_the_usual_rounds(changed, rounds, algorithm, optimizer):
    config = make_config(LANGUAGE_MODEL | changed)
    assert (config.rounds, config.algorithm.name, config.optimizer.name) == (rounds, algorithm, optimizer)
    assert "num_prompts" not in config.algorithm.options


def test_options_without_a_name_belong_to_the_default():
    config = make_config({"algorithm": {"num_prompts": 7}, "optimizer": {"population_size": 3}})
    assert config.algorithm.name == "ensemble"
    assert config.algorithm.options == {"num_prompts": 7, "prompt_decay": 0.1, "selection": "greedy"}
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
def test_one_prompt_is_tuned_where_an_ensemble_cannot_be(values, algorithm, optimizer):
    config = make_config({section: {"name": name} for section, name in values.items()})
    assert (config.algorithm.name, config.optimizer.name) == (algorithm, optimizer)
    assert make_config(tomllib.loads(config.to_toml())) == config


def test_a_task_of_texts_has_other_defaults_which_can_be_overridden():
    texts = {"task": {"name": "newsgroups"}}
    config = make_config(texts)
    assert (config.backend.name, config.prompt.name) == ("hf-text", "none")
    named = make_config(texts | {"backend": {"model": "bert-tiny"}, "prompt": {"name": "none"}})
    assert (named.backend.name, named.backend.options["model"]) == ("hf-text", "bert-tiny")


def test_given_settings_stay_as_they_are():
    values = {"data": {"shots_per_class": 2}, "prompt": {"name": "dct"}}
    make_config(values)
    assert values == {"data": {"shots_per_class": 2}, "prompt": {"name": "dct"}}


def test_the_readout_none_is_for_split_models() -> None:
    assert make_config({"algorithm": {"name": "sfprompt"}}).readout.name == "none"
    with pytest.raises(ConfigError, match="for algorithms that split the model"):
        make_config({"readout": {"name": "none"}})


def test_a_split_model_is_trained_for_more_rounds() -> None:
    assert make_config({"algorithm": {"name": "sfprompt"}}).rounds == 20
    assert make_config({"algorithm": {"name": "sfprompt"}, "rounds": 3}).rounds == 3
