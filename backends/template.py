"""The template in which a language model is asked for a class (Schick & Schütze 2021, arXiv 2001.07676)."""

from fedbbpt.errors import ConfigError
from fedbbpt.types import Prompted

COMPLETION = "Text: {text}\n{question}:"  # for causal models
CLOZE = "{text} {question}: {mask}."  # for masked models
QUESTION = "Text: {text}\nIs the {question} {options}?\nAnswer:"  # for models that have to generate a label word


class Template:
    """A text with its prompt, as the model reads it.

    `template` contains {text} and may contain {question}, the provider's, and {options}, all label words; for a masked
    model also {mask}, where the label word goes. Otherwise the label word comes last, after `space`.

    Raises:
        ConfigError: `template` has no {text}.

    >>> Template(COMPLETION, "Mood", ("good", "bad"), " ").render("It rains.")
    'Text: It rains.\\nMood:'
    """

    def __init__(self, template: str, question: str, label_words: tuple[str, ...], space: str) -> None:
        options = " or ".join([", ".join(label_words[:-1]), label_words[-1]])
        filled = template.replace("{question}", question).replace("{options}", options)
        self._prefix, text, self._suffix = filled.partition("{text}")
        if not text:
            raise ConfigError(f"backend.template needs {{text}} where the text goes, got {template!r}")
        self._space = space

    def prefix(self, one: Prompted) -> str:
        """Everything before the text: examples with their answers, each in the template as the text is, the prompt."""
        left, _, right = self._suffix.partition("{mask}")
        asked = [(self._prefix + one.prefix + text + one.suffix + left, answer) for text, answer in one.examples]
        return "".join(f"{text}{self._space}{answer}{right}\n\n" for text, answer in asked) + self._prefix + one.prefix

    def suffix(self, one: Prompted) -> str:
        """Everything after the text."""
        return one.suffix + self._suffix

    def render(self, one: str) -> str:
        """The whole string, as a service reads it."""
        prompted = one if isinstance(one, Prompted) else Prompted(one)
        return self.prefix(prompted) + prompted.text + self.suffix(prompted)


def resolve_label_words(
    words: list[str] | None, classes: tuple[str, ...], known: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The label words, one string per class: the user's, else the task's, else the names of the classes.

    Raises:
        ConfigError: their number is not that of the classes, or two are the same, or one is empty.
    """
    chosen = tuple(words or known or classes)
    if len(chosen) != len(classes) or len(set(chosen)) < len(chosen) or not all(chosen):
        raise ConfigError(
            f"backend.label_words needs {len(classes)} different words, one for each of {', '.join(classes)}; got "
            f"{', '.join(map(repr, chosen))}"
        )
    return chosen
