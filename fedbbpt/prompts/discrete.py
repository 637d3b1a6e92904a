"""Words before the text, each chosen among a few (BDPL: Diao et al. 2023, TMLR, arXiv 2201.08531)."""

import numpy as np
from pydantic import PositiveInt

from fedbbpt.backend import Modality
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats, Inputs, Prompted, Size


class DiscretePrompt(Prompt):
    """Words before the text, each chosen among a few.

    θ (num_tokens, V) holds a number for each of V words at each of `num_tokens` positions; a position shows the word
    with the largest number. If all numbers of a position are equal it shows none, so that training starts from the text
    itself.

    The words are `vocabulary`; without any, the `vocabulary_size` most frequent ones are learned from what the clients
    count in their training texts (see `data.ngrams`), before the first round, and become part of the run's config.

    >>> import numpy as np
    >>> prompt = DiscretePrompt(None, num_tokens=2, vocabulary=["a", "good", "film"])
    >>> candidate = np.array([[0, 1, 0], [0, 0, 1]])  # one row per position
    >>> [str(text) for text in prompt.apply(candidate.reshape(1, -1), np.array(["I liked it."], object), None)]
    ['good film I liked it.']
    """

    modalities: tuple[Modality, ...] = ("text",)
    learns_vocabulary = True
    choices: int

    def __init__(
        self,
        size: Size,
        /,
        *,
        num_tokens: PositiveInt = 8,
        vocabulary_size: PositiveInt = 50,
        vocabulary: list[str] | None = None,
    ) -> None:
        self._vocabulary = tuple(vocabulary or ())
        if len(self._vocabulary) < 2:
            raise ConfigError(
                f"prompt 'discrete' chooses among two words or more, got {vocabulary or 'none'}; name some, as in -o "
                """'prompt.vocabulary=["good", "bad"]', or none, and they are learned from the clients' texts"""
            )
        self.choices = len(self._vocabulary)
        self.dim = num_tokens * self.choices

    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """See `Prompt`."""
        positions = theta.astype(np.float32).reshape(len(theta), -1, self.choices)  # (n, num_tokens, V)
        shown = [" ".join([*self._words(candidate), ""]) for candidate in positions]
        return as_texts([Prompted(text, prefix=words) for words in shown for text in inputs])

    def _words(self, positions: Floats) -> list[str]:
        """What a candidate (num_tokens, V) shows."""
        return [self._vocabulary[one.argmax()] for one in positions if one.max() > one.min()]
