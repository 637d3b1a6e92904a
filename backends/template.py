"""The sentence in which a language model is asked for a class."""

from fedbbpt.errors import ConfigError
from fedbbpt.types import Prompted

COMPLETE = "Text: {text}\n{question}:"  # for models that write on
FILL = "{text} {question}: {mask}."  # for masked ones
ASK = "Text: {text}\nIs the {question} {options}?\nAnswer:"  # where the model has to write one of the words


class Template:
    """A text with its prompt, as the model reads it.

    `template` holds {text} and may hold {question}, the provider's, and {options}, all words; for a masked model also
    {mask}, where the words go, else they come last, behind `space`.
    """

    def __init__(self, template: str, question: str, words: tuple[str, ...], space: str) -> None:
        options = " or ".join([", ".join(words[:-1]), words[-1]])
        filled = template.replace("{question}", question).replace("{options}", options)
        self._before, text, self._after = filled.partition("{text}")
        if not text:
            raise ConfigError(f"backend.template needs {{text}} where the text goes, got {template!r}")
        self._space = space

    def before(self, one: Prompted) -> str:
        """What stands before the text: examples with their answers, asked about as the text is, then the prompt."""
        left, _, right = self._after.partition("{mask}")
        asked = [(self._before + one.prefix + text + one.suffix + left, answer) for text, answer in one.examples]
        return "".join(f"{text}{self._space}{answer}{right}\n\n" for text, answer in asked) + self._before + one.prefix

    def after(self, one: Prompted) -> str:
        """What stands behind the text."""
        return one.suffix + self._after

    def whole(self, one: str) -> str:
        """All of it, as a service reads it."""
        prompted = one if isinstance(one, Prompted) else Prompted(one)
        return self.before(prompted) + prompted.text + self.after(prompted)


def resolve_label_words(
    words: list[str] | None, classes: tuple[str, ...], known: tuple[str, ...] | None
) -> tuple[str, ...]:
    """A word or a few for each class: the user's, else those known of the task, else the classes' names.

    Raises:
        ConfigError: not one for each class, or two classes with the same.
    """
    chosen = tuple(words or known or classes)
    if len(chosen) != len(classes) or len(set(chosen)) < len(chosen) or not all(chosen):
        raise ConfigError(
            f"backend.label_words wants {len(classes)} different words, one for each of {', '.join(classes)}; got "
            f"{', '.join(map(repr, chosen))}"
        )
    return chosen
