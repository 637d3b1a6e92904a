"""Prompts in plain words: an instruction before the text and a lead to the answer, each out of a list.

Which wording serves a model best is searched among ready ones, as in APE (Zhou et al. 2023, arXiv 2211.01910), where a
language model writes them for the task, and with bandits in TRIPLE (Shi et al. 2024, arXiv 2402.09723). Ours are
written by hand for any kind of classes, so that no client needs such a model. [own design]
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from fedbbpt.backend import Modality
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.prompts import Prompt
from fedbbpt.prompts.phrase_edits import EDITS, unchanged
from fedbbpt.types import Float32, Floats, Inputs, Prompted, Size

INSTRUCTIONS = (
    "",
    "Read the text and name its category.",
    "What is this?",
    "Decide which label fits the following text best.",
    "Classify the text below.",
    "Think of who wrote this and why, then choose the label.",
    "A careful editor sorts texts like this one. Where does it go?",
    "Here is a text. Say in a word what it is.",
    "You are an expert who has labelled thousands of texts. Label this one.",
    "Look at the choice of words before you decide.",
    "Judge the text as a whole, not a single word of it.",
    "Answer the question about the following text.",
    "Only one answer is right. Find it.",
    "Take your time, read to the end, and then decide.",
    "Go by your first impression.",
    "Ignore spelling and style; what counts is what is meant.",
    "How would most readers label this text?",
    "Put this text into one of the known groups.",
    "The text below was found without its label. Give the label back to it.",
    "Assign the correct class to the input.",
    "Beware of irony and of words that mislead.",
    "Which clue in this text gives the answer away?",
    "Imagine that you have to file this text. What do you write on the folder?",
    "Texts and their labels:",
    "An example from a data set, with its label:",
    "Consider every possible answer and keep the one that fits.",
    "A pupil asks what kind of text this is. Tell them.",
    "Be strict: name the label that is most likely, even in doubt.",
    "Pay attention to the main point of the text.",
    "This text was checked by two people, and they agreed on its label.",
    "Please tell me the right label for this:",
    "Task: text classification. Input:",
)
LEADS = (
    "",
    "Answer:",
    "Label:",
    "Category:",
    "In one word:",
    "The right label is",
    "The answer is",
    "This is an example of",
    "All in all, it is",
    "Conclusion:",
    "Therefore the best choice is",
    "If I had to choose, I would say",
    "Verdict:",
    "Most people would call this",
    "Output:",
    "So, in short:",
)


Example = Annotated[list[str], Field(min_length=2, max_length=2)]  # a text, its answer


class Instruction(Prompt):
    """A prompt in plain words, for any model that reads text, also one that only answers with text.

    An instruction stands before the text, in a line of its own, and a lead to the answer in a line behind it, or only
    one of them (`positions`). The user's own `instructions` take the place of ours, which go with any kind of classes.
    With `edits`, one of `EDITS` changes the instruction. With `examples`, texts with their answers that may be told to
    the model and to all clients, up to `shots` different ones stand before all.

    θ is (positions, choices), for the instruction, its edit, the lead, and each of the shots: the choice with the
    largest number is taken, the first of equals. Zeros are the text as it is. The shorter lists are gone through
    repeatedly until they are as long as the longest.

    >>> import numpy as np
    >>> prompt = Instruction(None, instructions=["Is it spam?", "Ham or spam?"], positions="before")
    >>> candidate = np.array([[0, 0, 1]])  # nothing, the first, the second
    >>> [str(text) for text in prompt.apply(candidate, np.array(["You have won!"], object), None)]
    ['Ham or spam?\\nYou have won!']
    """

    modalities: tuple[Modality, ...] = ("text",)
    choices: int

    def __init__(
        self,
        size: Size,
        /,
        *,
        instructions: list[str] | None = None,
        positions: Literal["both", "before", "after"] = "both",
        edits: bool = False,
        examples: list[Example] | None = None,
        shots: PositiveInt = 2,
    ) -> None:
        if instructions is not None and not any(instructions):
            raise ConfigError("prompt.instructions holds no instruction; leave it out for the built-in ones")
        if edits and positions == "after":
            raise ConfigError("prompt.edits changes instructions, and prompt.positions=after leaves them out")
        self._lists: dict[str, Sequence[Any]] = {}
        if positions != "after":
            self._lists["before"] = _lines(INSTRUCTIONS if instructions is None else instructions)
            if edits:
                self._lists["edit"] = EDITS
        if positions != "before":
            self._lists["after"] = _lines(LEADS)
        if examples:
            self._lists |= {f"shot {number}": [None, *examples] for number in range(shots)}
        self.choices = max(map(len, self._lists.values()))
        self.dim = len(self._lists) * self.choices

    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """See `Prompt`."""
        largest = theta.reshape(len(theta), len(self._lists), self.choices).argmax(2)  # (n, positions)
        prompts = [self._worded(row) for row in largest.tolist()]
        return as_texts([Prompted(text, **prompt) for prompt in prompts for text in inputs])

    def _worded(self, choices: list[int]) -> dict[str, Any]:
        """What surrounds a text, by these choices for each position."""
        one = {position: some[i % len(some)] for i, (position, some) in zip(choices, self._lists.items(), strict=True)}
        before, after = one.get("edit", unchanged)(one.get("before", "")), one.get("after", "")
        shots = [example for position, example in one.items() if position.startswith("shot") and example is not None]
        return {
            "prefix": before and f"{before}\n",
            "suffix": after and f"\n{after}",
            "examples": tuple(dict.fromkeys(map(tuple, shots))),
        }


def _lines(options: Sequence[str]) -> list[str]:
    """Nothing at all, then each of the options once."""
    return list(dict.fromkeys(("", *options)))
