"""The prompts of the best checkpoint as text, as the report and the end of a run show them."""

from types import SimpleNamespace

import numpy as np
import pytest

from fedbbpt.backend import Embeddings
from fedbbpt.prompts.instruction import INSTRUCTIONS, LEADS, Instruction
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.prompts.soft import Soft
from fedbbpt.run.report.prompt_preview import PLACEHOLDER, prompt_texts


def experiment(prompt, modality="text", shared=True):
    algorithm = SimpleNamespace(shares_parameters=shared)
    return SimpleNamespace(prompt=prompt, task=SimpleNamespace(modality=modality), algorithm=algorithm)


def test_each_prompt_is_worded_around_the_place_of_the_text():
    prompt = Instruction(None)
    theta = np.zeros((2, 2, prompt.choices), np.float32)
    theta[1, 0, 3] = theta[1, 1, 5] = 1
    assert prompt_texts(experiment(prompt), theta.ravel()) == [
        PLACEHOLDER,
        f"{INSTRUCTIONS[3]}\n{PLACEHOLDER}\n{LEADS[5]}",
    ]


def test_vectors_are_counted():
    prompt = Soft(Embeddings(4, 0.1), dim=6, num_tokens=3)
    assert prompt_texts(experiment(prompt), np.ones(6, np.float32)) == [f"⟨3 vectors⟩ {PLACEHOLDER}"]


@pytest.mark.parametrize("other", [{"modality": "image"}, {"shared": False}])
def test_nothing_where_there_is_no_prompt_in_words_for_all(other):
    assert prompt_texts(experiment(Instruction(None), **other), np.zeros(64, np.float32)) == []
    assert prompt_texts(experiment(NoPrompt(None)), np.zeros(0, np.float32)) == []
