import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.instruction import INSTRUCTIONS, LEADS, Instruction
from fedbbpt.prompts.phrase_edits import EDITS

TEXTS = as_texts(["It rains.", "The sun {shines}."])


def chosen(prompt, *choices):
    """θ (n, d) that takes these choices, a tuple of positions each."""
    return np.eye(prompt.choices)[list(choices)].reshape(len(choices), -1)


def apply(prompt, *choices):
    return prompt.apply(chosen(prompt, *choices), TEXTS, None)


def test_an_instruction_stands_before_and_a_lead_behind():
    one, other = apply(Instruction(None), (1, 2))
    assert one == f"{INSTRUCTIONS[1]}\nIt rains.\n{LEADS[2]}"
    assert (one.prefix, one.text, one.suffix) == (f"{INSTRUCTIONS[1]}\n", "It rains.", f"\n{LEADS[2]}")
    assert other.text == "The sun {shines}."


def test_zeros_and_the_first_choices_are_the_text_as_it_is():
    prompt = Instruction(None)
    start = prompt.init(np.random.default_rng(0))
    assert not start.any()
    assert list(prompt.apply(np.stack([start, chosen(prompt, (0, 0))[0]]), TEXTS, None)) == [*TEXTS, *TEXTS]


def test_candidates_come_first():
    texts = apply(Instruction(None), (3, 0), (0, 4))
    assert [text.text for text in texts] == [*TEXTS, *TEXTS]
    assert [bool(text.prefix) for text in texts] == [True, True, False, False]


def test_what_has_the_largest_number_is_taken():
    prompt = Instruction(None)
    theta = np.random.default_rng(0).normal(size=prompt.dim)
    best = tuple(theta.reshape(2, -1).argmax(1))
    assert list(prompt.apply(theta[None], TEXTS, None)) == list(apply(prompt, best))


def test_the_shorter_list_is_gone_through_repeatedly():
    prompt = Instruction(None)
    assert (prompt.choices, prompt.dim) == (32, 64)
    assert list(apply(prompt, (0, 5 + len(LEADS)))) == list(apply(prompt, (0, 5)))


@pytest.mark.parametrize(
    ("positions", "choices", "said"),
    [("before", 32, f"{INSTRUCTIONS[7]}\nIt rains."), ("after", 16, f"It rains.\n{LEADS[7]}")],
)
def test_one_place_alone(positions, choices, said):
    prompt = Instruction(None, positions=positions)
    assert prompt.dim == prompt.choices == choices
    assert apply(prompt, (7,))[0] == said


def test_own_pool_takes_the_place_of_ours():
    prompt = Instruction(None, instructions=["Is it {nice}?", "", "Weather?", "Weather?"], positions="before")
    said = [apply(prompt, (i,))[0] for i in range(prompt.choices)]
    assert said == ["It rains.", "Is it {nice}?\nIt rains.", "Weather?\nIt rains."]
    assert Instruction(None, instructions=["Weather?"]).choices == len(LEADS)


@pytest.mark.parametrize("instructions", [[], [""]])
def test_a_pool_without_any_instruction_is_refused(instructions):
    with pytest.raises(ConfigError, match=r"prompt\.instructions holds no instruction"):
        Instruction(None, instructions=instructions)


def test_own_pool_comes_from_a_config():
    settings = {"task": {"name": "csv:x.csv", "text_column": "a", "label_column": "b"}, "backend": {"name": "hf-text"}}
    config = make_config(settings | {"prompt": {"name": "instruction", "instructions": ["Hot?", "Cold?"]}})
    assert config.prompt.options == {
        "instructions": ["Hot?", "Cold?"],
        "positions": "both",
        "edits": False,
        "examples": None,
        "shots": 2,
    }


@pytest.mark.parametrize("instructions", [INSTRUCTIONS, LEADS])
def test_our_pools_hold_nothing_twice_and_start_with_nothing(instructions):
    assert instructions[0] == ""
    assert len(set(instructions)) == len(instructions)
    assert all(line == line.strip() and "\n" not in line for line in instructions)


EXAMPLES = [("It hails.", "bad"), ("Warm and {dry}.", "good"), ("Fog.", "bad")]


def test_examples_stand_before_all_each_in_the_prompt_of_the_text():
    prompt = Instruction(None, instructions=["Weather?"], examples=EXAMPLES, shots=2)
    assert (prompt.choices, prompt.dim) == (len(LEADS), 4 * len(LEADS))
    one, other = apply(prompt, (1, 1, 2, 1))
    lead = f"\n{LEADS[1]}"
    assert one.examples == other.examples == (EXAMPLES[1], EXAMPLES[0])
    shown = f"Weather?\nWarm and {{dry}}.{lead}\ngood\n\nWeather?\nIt hails.{lead}\nbad\n\n"
    assert one == f"{shown}Weather?\nIt rains.{lead}"
    assert other == f"{shown}Weather?\nThe sun {{shines}}.{lead}"


@pytest.mark.parametrize(("choices", "shown"), [((0, 3), (2,)), ((3, 3), (2,)), ((0, 0), ()), ((5, 2), (0, 1))])
def test_a_place_may_show_none_and_no_example_is_shown_twice(choices, shown):
    prompt = Instruction(None, positions="before", examples=EXAMPLES)
    one = apply(prompt, (0, *choices))[0]
    assert one.examples == tuple(EXAMPLES[i] for i in shown)


def test_shots_say_how_many_examples_there_may_be():
    prompt = Instruction(None, positions="after", examples=EXAMPLES, shots=3)
    assert len(apply(prompt, (0, 1, 2, 3))[0].examples) == 3
    assert prompt.dim == 4 * prompt.choices
    assert Instruction(None, examples=[], shots=3).dim == Instruction(None).dim


def test_examples_come_from_a_config():
    settings = {"task": {"name": "csv:x.csv", "text_column": "a", "label_column": "b"}, "backend": {"name": "hf-text"}}
    options = {"name": "instruction", "examples": [["It hails.", "bad"]], "shots": 1}
    assert make_config(settings | {"prompt": options}).prompt.options["examples"] == [["It hails.", "bad"]]


@pytest.mark.parametrize("examples", [["It hails."], [["It hails."]], [["It hails.", "bad", "x"]], [[1, "bad"]]])
def test_examples_that_are_no_texts_with_answers_are_refused(examples):
    settings = {"task": {"name": "csv:x.csv", "text_column": "a", "label_column": "b"}, "backend": {"name": "hf-text"}}
    with pytest.raises(ConfigError, match=r"prompt\.examples\.0"):
        make_config(settings | {"prompt": {"name": "instruction", "examples": examples}})


def test_an_edit_changes_the_instruction():
    prompt = Instruction(None, instructions=["Look. Then answer."], positions="before", edits=True)
    said = [apply(prompt, (1, edit))[0].prefix for edit in range(len(EDITS))]
    assert said == [
        "Look. Then answer.\n",
        "Then answer.\n",
        "Look.\n",
        "Then answer. Look.\n",
        "Look. Then answer. Look. Then answer.\n",
    ]
    assert {apply(prompt, (0, edit))[0].prefix for edit in range(len(EDITS))} == {""}


def test_no_instruction_no_edit():
    with pytest.raises(ConfigError, match=r"prompt\.edits changes instructions"):
        Instruction(None, positions="after", edits=True)


@pytest.mark.parametrize("text", ["Answer", "", "Is it, or is it not?", "A: b; c.", "...", "Wait... what?!"])
def test_edits_leave_no_instruction_empty_and_add_no_word(text):
    for edit in EDITS:
        assert bool(edit(text)) == bool(text)
        assert set(edit(text).split()) <= set(text.split())
