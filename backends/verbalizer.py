"""A language model as a classifier: how likely it is to go on with each class's words (Schick & Schütze 2021)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fedbbpt.backend import Provider
from fedbbpt.errors import ConfigError
from fedbbpt.types import Float32, Inputs, Prompted

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

TEMPLATES = {"causal": "Text: {text}\n{question}:", "masked": "{text} {question}: {mask}."}
ASKING = "Text: {text}\nIs the {question} {options}?\nAnswer:"  # where the model has to write one of them


@dataclass(frozen=True)
class Context:
    """What a model reads before it is asked for the words, in tokens."""

    prefix: Float32 | None  # (L, D): vectors before all
    before: tuple[int, ...]  # what many contexts share: the template up to the text, the prompt
    text: tuple[int, ...]
    after: tuple[int, ...]  # the prompt behind the text, the rest of the template

    def __len__(self) -> int:
        return len(self.prefix if self.prefix is not None else ()) + len(self.before) + len(self.text) + len(self.after)


class Scorer(Protocol):
    """How likely words are in contexts, for one kind of language model."""

    def __call__(self, contexts: list[Context]) -> Float32:
        """Log-probabilities (b, C), in nats: of all tokens of each class's words, in a row."""


class Verbalizer:
    """Scores of classes by their words.

    `template` holds {text} and may hold {question}, the provider's, and {options}, all words; for a masked model also
    {mask}, where the words go, else they come last. Of a text, at most `longest` tokens are read; the template and the
    prompt are never cut.
    """

    def __init__(
        self, model: "TextModel", provider: Provider, template: str | None, words: list[str] | None, longest: int
    ) -> None:
        if model.language is None:
            raise ConfigError(f"{model.name} writes no words; use another backend.head than 'verbalizer'")
        self.classes = provider.classes
        self._tokenizer, self._longest, self._most = model.tokenizer, longest, model.longest
        chosen = tuple(words or provider.words or provider.classes)
        if len(chosen) != len(self.classes) or len(set(chosen)) < len(chosen) or not all(chosen):
            raise ConfigError(
                f"backend.words wants {len(self.classes)} different words, one for each of {', '.join(self.classes)}; "
                f"got {', '.join(map(repr, chosen))}"
            )
        self.names = chosen  # of the classes, in words
        self._before, self._after = _halves(template or TEMPLATES[model.language], provider.question, chosen)
        self._ids = lru_cache(maxsize=4096)(self._tokens)
        self._score: Scorer
        if model.language == "causal":
            from fedbbpt_backends.causal import CausalScorer

            self._space = " "  # a word after a space is another token than at the start of a line
            self.words = [self._ids(self._space + word) for word in chosen]  # the names in tokens
            self._score = CausalScorer(model, self.words)
            self._begin, self._end = _special(self._tokenizer)[0], ()
            self._mask: int | None = None
        else:
            from fedbbpt_backends.masked import MaskedScorer

            self._space = ""
            self.words = [self._ids(word) for word in chosen]
            self._score = MaskedScorer(model, self.words)
            self._begin, self._end = _special(self._tokenizer)
            self._mask = self._tokenizer.mask_token_id
        self._room = max(map(len, self.words))  # tokens that the words may take

    def __call__(self, inputs: Inputs) -> tuple[Float32, int]:
        """Scores (b, C) of texts (b,), and how many tokens were read: those of the contexts, each counted whole."""
        contexts = [self.context(text) for text in inputs]
        return self._score(contexts), sum(map(len, contexts))

    def context(self, text: str) -> Context:
        """What the model reads of a text before it is asked for the words."""
        one = text if isinstance(text, Prompted) else Prompted(text)
        before = (*self._begin, *self._ids(self._examples(one) + self._before + one.before))
        after = (*self._with_mask(one.after + self._after), *self._end)
        taken = len(before) + len(after) + (0 if one.prefix is None else len(one.prefix)) + self._room
        if taken >= self._most:
            raise ConfigError(f"prompt and template take {taken} tokens, and the model reads {self._most}")
        return Context(one.prefix, before, self._tokens(one.text)[: min(self._longest, self._most - taken)], after)

    def _examples(self, one: Prompted) -> str:
        """Texts with their answers, each as the text itself is asked about."""
        left, _, right = self._after.partition("{mask}")
        asked = [(self._before + one.before + text + one.after + left, answer) for text, answer in one.examples]
        return "".join(f"{text}{self._space}{answer}{right}\n\n" for text, answer in asked)

    def _with_mask(self, text: str) -> tuple[int, ...]:
        if self._mask is None:
            return self._ids(text)
        left, _, right = text.partition("{mask}")
        return (*self._ids(left), self._mask, *self._ids(right))

    def _tokens(self, text: str) -> tuple[int, ...]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return tuple(ids)


def _halves(template: str, question: str, words: tuple[str, ...]) -> tuple[str, str]:
    """The template before and behind the text."""
    options = " or ".join([", ".join(words[:-1]), words[-1]])
    before, text, after = template.replace("{question}", question).replace("{options}", options).partition("{text}")
    if not text:
        raise ConfigError(f"backend.template needs {{text}} where the text goes, got {template!r}")
    return before, after


def _special(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a tokenizer puts before and behind every text."""
    ids, plain = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    where = next(i for i in range(len(ids)) if ids[i : i + len(plain)] == plain)
    return tuple(ids[:where]), tuple(ids[where + len(plain) :])


def by_length(lengths: "np.typing.ArrayLike", at_once: int) -> list[list[int]]:
    """Rows, shortest first, in pieces of at most `at_once` tokens with their padding."""
    lengths = np.asarray(lengths)
    pieces: list[list[int]] = [[]]
    for i in np.argsort(lengths, kind="stable").tolist():
        if pieces[-1] and (len(pieces[-1]) + 1) * lengths[i] > at_once:
            pieces.append([])
        pieces[-1].append(i)
    return pieces
