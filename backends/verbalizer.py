"""A language model as a classifier: the probability of each class's label words (Schick & Schütze 2021)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fedbbpt.backend import Provider
from fedbbpt.errors import ConfigError
from fedbbpt.types import Float32, Inputs, Prompted
from fedbbpt_backends.template import CLOZE, COMPLETION, Template, resolve_label_words

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

TEMPLATES = {"causal": COMPLETION, "masked": CLOZE}


@dataclass(frozen=True)
class Context:
    """What a model reads before the label words, in token ids."""

    soft_prompt: Float32 | None  # (L, D), before everything
    prefix: tuple[int, ...]  # shared by many contexts: the template up to the text, with the prompt
    text: tuple[int, ...]
    suffix: tuple[int, ...]  # the rest of the prompt and of the template

    def __len__(self) -> int:
        soft = 0 if self.soft_prompt is None else len(self.soft_prompt)
        return soft + len(self.prefix) + len(self.text) + len(self.suffix)


class Scorer(Protocol):
    """Scores label words in contexts, with one kind of language model."""

    def __call__(self, contexts: list[Context]) -> Float32:
        """Log-probabilities (b, C), float32, in nats: the sum over the tokens of each class's label words."""


class Verbalizer:
    """Scores classes by their label words.

    Of a text, at most `max_tokens` tokens are read; the template and the prompt are never truncated. With
    `single_string`, prompt and text form one string, as a service reads them, and are truncated as one.

    Raises:
        ConfigError: the model is not a language model, or `single_string` is asked of a masked one.
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
            raise ConfigError(f"{model.name} is not a language model; use another backend.classifier than 'verbalizer'")
        if single_string and model.language != "causal":
            raise ConfigError(f"backend.single_string is for causal language models, and {model.name} is a masked one")
        self.classes = provider.classes
        self._tokenizer, self._max_tokens, self._longest = model.tokenizer, max_tokens, model.longest
        self.label_words = resolve_label_words(label_words, provider.classes, provider.label_words)
        space = " " if model.language == "causal" else ""  # tokenizers encode a word after a space differently
        self._template = Template(template or TEMPLATES[model.language], provider.question, self.label_words, space)
        self._single_string = single_string
        self._ids = lru_cache(maxsize=4096)(self._tokens)
        self.label_ids = [self._ids(space + word) for word in self.label_words]
        self._room = max(map(len, self.label_ids))  # tokens that the label words may take
        self._score: Scorer
        if model.language == "causal":
            from fedbbpt_backends.per_class import choose_scorer

            self._begin, self._end = _special_tokens(self._tokenizer)[0], ()
            self._mask: int | None = None
            self._score = choose_scorer(model, self.label_ids, self.context("a"))
        else:
            from fedbbpt_backends.masked import MaskedScorer

            self._score = MaskedScorer(model, self.label_ids)
            self._begin, self._end = _special_tokens(self._tokenizer)
            self._mask = self._tokenizer.mask_token_id

    def __call__(self, inputs: Inputs) -> tuple[Float32, int]:
        """Scores (b, C) of texts (b,), and the number of tokens in their contexts."""
        contexts = [self.context(text) for text in inputs]
        return self._score(contexts), sum(map(len, contexts))

    def context(self, text: str) -> Context:
        """What the model reads of a text before the label words.

        Raises:
            ConfigError: prompt and template leave no room for the text.
        """
        one = text if isinstance(text, Prompted) else Prompted(text)
        prefix, suffix = self._template.prefix(one), self._template.suffix(one)
        if self._single_string:
            prefix, one, suffix = "", Prompted(prefix + one.text + suffix), ""
        return self._context(one, (*self._begin, *self._ids(prefix)), (*self._with_mask(suffix), *self._end))

    def _context(self, one: Prompted, prefix: tuple[int, ...], suffix: tuple[int, ...]) -> Context:
        taken = len(Context(one.soft_prompt, prefix, (), suffix)) + self._room
        if taken >= self._longest:
            raise ConfigError(f"prompt and template take {taken} tokens, and the model reads {self._longest}")
        text = self._tokens(one.text)[: min(self._max_tokens, self._longest - taken)]
        return Context(one.soft_prompt, prefix, text, suffix)

    def _with_mask(self, text: str) -> tuple[int, ...]:
        if self._mask is None:
            return self._ids(text)
        left, _, right = text.partition("{mask}")
        return (*self._ids(left), self._mask, *self._ids(right))

    def _tokens(self, text: str) -> tuple[int, ...]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return tuple(ids)


def _special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that a tokenizer adds before and after every text."""
    ids, plain = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    where = next(i for i in range(len(ids)) if ids[i : i + len(plain)] == plain)
    return tuple(ids[:where]), tuple(ids[where + len(plain) :])


def length_buckets(lengths: "np.typing.ArrayLike", max_tokens: int) -> list[list[int]]:
    """Row numbers by increasing length, in batches of at most `max_tokens` tokens, padding included.

    >>> length_buckets([5, 2, 3], max_tokens=6)
    [[1, 2], [0]]
    """
    lengths = np.asarray(lengths)
    buckets: list[list[int]] = [[]]
    for i in np.argsort(lengths, kind="stable").tolist():
        if buckets[-1] and (len(buckets[-1]) + 1) * lengths[i] > max_tokens:
            buckets.append([])
        buckets[-1].append(i)
    return buckets
