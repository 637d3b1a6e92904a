"""A language model as a classifier: how likely it is to go on with each class's words (Schick & Schütze 2021)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fedbbpt.backend import Provider
from fedbbpt.errors import ConfigError
from fedbbpt.types import Float32, Inputs, Prompted
from fedbbpt_backends.template import COMPLETE, FILL, Template, resolve_label_words

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

TEMPLATES = {"causal": COMPLETE, "masked": FILL}


@dataclass(frozen=True)
class Context:
    """What a model reads before it is asked for the words, in tokens."""

    soft_prompt: Float32 | None  # (L, D): vectors before everything else
    prefix: tuple[int, ...]  # what many contexts share: the template up to the text, the prompt
    text: tuple[int, ...]
    suffix: tuple[int, ...]  # the prompt behind the text, the rest of the template

    def __len__(self) -> int:
        vectors = 0 if self.soft_prompt is None else len(self.soft_prompt)
        return vectors + len(self.prefix) + len(self.text) + len(self.suffix)


class Scorer(Protocol):
    """How likely words are in contexts, for one kind of language model."""

    def __call__(self, contexts: list[Context]) -> Float32:
        """Log-probabilities (b, C), in nats: of all tokens of each class's words, in a row."""


class Verbalizer:
    """Scores of classes by their words.

    Of a text, at most `longest` tokens are read; the template and the prompt are never cut. With `whole`, prompt and
    text are one string, as a service reads them, and are cut as one.
    """

    def __init__(
        self,
        model: "TextModel",
        provider: Provider,
        template: str | None,
        label_words: list[str] | None,
        max_tokens: int,
        single_string: bool = False,
    ) -> None:
        if model.language is None:
            raise ConfigError(f"{model.name} writes no words; use another backend.classifier than 'verbalizer'")
        if single_string and model.language != "causal":
            raise ConfigError(f"backend.single_string is for models that write on, and {model.name} fills in words")
        self.classes = provider.classes
        self._tokenizer, self._max_tokens, self._longest = model.tokenizer, max_tokens, model.longest
        self.names = resolve_label_words(label_words, provider.classes, provider.words)
        space = " " if model.language == "causal" else ""  # a word after a space is a token of its own
        self._template = Template(template or TEMPLATES[model.language], provider.question, self.names, space)
        self._single_string = single_string
        self._ids = lru_cache(maxsize=4096)(self._tokens)
        self.words = [self._ids(space + word) for word in self.names]  # in tokens
        self._room = max(map(len, self.words))  # tokens that the words may take
        self._score: Scorer
        if model.language == "causal":
            from fedbbpt_backends.per_class import choose_scorer

            self._begin, self._end = _special(self._tokenizer)[0], ()
            self._mask: int | None = None
            self._score = choose_scorer(model, self.words, self.context("a"))
        else:
            from fedbbpt_backends.masked import MaskedScorer

            self._score = MaskedScorer(model, self.words)
            self._begin, self._end = _special(self._tokenizer)
            self._mask = self._tokenizer.mask_token_id

    def __call__(self, inputs: Inputs) -> tuple[Float32, int]:
        """Scores (b, C) of texts (b,), and how many tokens were read: those of the contexts, each counted whole."""
        contexts = [self.context(text) for text in inputs]
        return self._score(contexts), sum(map(len, contexts))

    def context(self, text: str) -> Context:
        """What the model reads of a text before it is asked for the words."""
        one = text if isinstance(text, Prompted) else Prompted(text)
        before, after = self._template.before(one), self._template.after(one)
        if self._single_string:
            before, one, after = "", Prompted(before + one.text + after), ""
        return self._context(one, (*self._begin, *self._ids(before)), (*self._with_mask(after), *self._end))

    def _context(self, one: Prompted, before: tuple[int, ...], after: tuple[int, ...]) -> Context:
        taken = len(before) + len(after) + (0 if one.soft_prompt is None else len(one.soft_prompt)) + self._room
        if taken >= self._longest:
            raise ConfigError(f"prompt and template take {taken} tokens, and the model reads {self._longest}")
        return Context(
            one.soft_prompt, before, self._tokens(one.text)[: min(self._max_tokens, self._longest - taken)], after
        )

    def _with_mask(self, text: str) -> tuple[int, ...]:
        if self._mask is None:
            return self._ids(text)
        left, _, right = text.partition("{mask}")
        return (*self._ids(left), self._mask, *self._ids(right))

    def _tokens(self, text: str) -> tuple[int, ...]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return tuple(ids)


def _special(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a tokenizer puts before and behind every text."""
    ids, plain = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    where = next(i for i in range(len(ids)) if ids[i : i + len(plain)] == plain)
    return tuple(ids[:where]), tuple(ids[where + len(plain) :])


def length_buckets(lengths: "np.typing.ArrayLike", at_once: int) -> list[list[int]]:
    """Rows, shortest first, in pieces of at most `at_once` tokens with their padding."""
    lengths = np.asarray(lengths)
    pieces: list[list[int]] = [[]]
    for i in np.argsort(lengths, kind="stable").tolist():
        if pieces[-1] and (len(pieces[-1]) + 1) * lengths[i] > at_once:
            pieces.append([])
        pieces[-1].append(i)
    return pieces
