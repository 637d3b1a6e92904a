import tomllib

import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.config.components import learns_vocabulary, resolve
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.discrete import DiscretePrompt

WORDS = ("good", "bad", "so so")


def shown(places, text="film"):
    """What θ (length, 3) makes of a text."""
    theta = np.array(places, np.float32)
    prompt = DiscretePrompt(None, num_tokens=len(theta), vocabulary=WORDS)
    (prompted,) = prompt.apply(theta.reshape(1, -1), as_texts([text]), None)
    return prompted


def test_a_place_shows_the_word_with_the_largest_number():
    prompted = shown([[0, 1, 0], [3, 2, 1], [-3, -2, -1]])
    assert prompted == "bad good so so film"
    assert (prompted.prefix, prompted.text, prompted.suffix) == ("bad good so so ", "film", "")


def test_a_place_whose_numbers_are_equal_shows_nothing():
    assert shown([[0, 0, 0], [0, 1, 0], [2, 2, 2]]) == "bad film"
    assert shown([[0, 0, 0], [-1, -1, -1]]) == "film"


def test_a_number_for_each_word_at_each_place():
    prompt = DiscretePrompt(None, num_tokens=5, vocabulary=WORDS)
    assert (prompt.choices, prompt.dim) == (3, 15)
    assert not prompt.init(np.random.default_rng(0)).any()


@pytest.mark.parametrize("vocabulary", [None, [], ["alone"]])
def test_nothing_to_choose_from_is_refused(vocabulary):
    with pytest.raises(ConfigError, match="two words or more"):
        DiscretePrompt(None, vocabulary=vocabulary)


@pytest.mark.parametrize("name", ["discrete", "subspace:discrete"])
def test_it_learns_its_words_also_inside_another(name):
    assert learns_vocabulary(name)
    assert resolve("prompts", name, {}).options["vocabulary"] is None
    assert not learns_vocabulary("none")


def test_a_vocabulary_that_is_no_list_of_words_is_refused():
    for wrong in ("good", [1, 2]):
        with pytest.raises(ConfigError, match=r"prompt\.vocabulary"):
            resolve("prompts", "discrete", {"vocabulary": wrong})


@pytest.mark.parametrize("vocabulary", [[], ["a", "b"], ["ünd", 'say "so"', "don't"]])
def test_the_words_survive_the_config_file(vocabulary):
    options = {"name": "discrete", "num_tokens": 3, "vocabulary": vocabulary}
    written = make_config({"task": {"name": "newsgroups"}, "prompt": options}).to_toml()
    again = make_config(tomllib.loads(written))
    assert list(again.prompt.options["vocabulary"]) == vocabulary
    assert again.to_toml() == written
