"""Words after a text, one class after the other, by a model's own answers: right for all models, and slow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from fedbbpt.errors import BackendError
from fedbbpt.types import Float32
from fedbbpt_backends.causal import CausalScorer, embed_all, embed_tokens
from fedbbpt_backends.loading import reason
from fedbbpt_backends.verbalizer import Context, Scorer, length_buckets

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

AT_ONCE = 512  # tokens of one forward pass, padding included: the scores of a whole vocabulary belong to each
APART = {torch.float32: 1e-2, torch.bfloat16: 0.5}  # nats by which the ways to one score may differ


class PerClassScorer:
    """For models whose words cannot stand side by side: those that read without attention, by distance, or locally, and
    those whose scores are more than a product of hidden states and words."""

    def __init__(self, model: "TextModel", words: Sequence[tuple[int, ...]]) -> None:
        self._net: Any = model.net
        self._embed: Any = model.net.get_input_embeddings()
        self._words = words

    def __call__(self, contexts: list[Context]) -> Float32:
        """See `Scorer`."""
        result = np.empty((len(contexts), len(self._words)), np.float32)
        with torch.inference_mode():
            for c, word in enumerate(self._words):
                for rows in length_buckets([len(context) + len(word) for context in contexts], AT_ONCE):
                    result[rows, c] = self._forward([contexts[i] for i in rows], word).cpu().numpy()
        return result

    def _forward(self, contexts: list[Context], word: tuple[int, ...]) -> torch.Tensor:
        """Log-probabilities (b,) of a class's words."""
        behind = embed_tokens(self._embed, word)
        x = [torch.cat([embed_all(self._embed, context), behind]) for context in contexts]
        lengths = torch.tensor([len(one) for one in x], device=behind.device)
        padded = pad_sequence(x, batch_first=True)
        mask = (torch.arange(padded.shape[1], device=behind.device) < lengths[:, None]).long()
        logits = self._net(inputs_embeds=padded, attention_mask=mask).logits
        where = lengths[:, None] - len(word) - 1 + torch.arange(len(word), device=behind.device)  # (b, tokens)
        likely = logits[torch.arange(len(x), device=behind.device)[:, None], where].float().log_softmax(-1)
        return likely[:, torch.arange(len(word), device=behind.device), torch.tensor(word, device=behind.device)].sum(
            -1
        )


def choose_scorer(model: "TextModel", words: Sequence[tuple[int, ...]], context: Context) -> Scorer:
    """How to score the words: all side by side, if that says about this context what the model itself says.

    Raises:
        BackendError: the model does not say how likely words are.
    """
    slow, fast = PerClassScorer(model, words), CausalScorer(model, words)
    try:
        expected = slow([context])[0]
    except Exception as e:  # every model has its own words for an input that it does not take
        raise BackendError(f"{model.name} cannot be asked how likely words are: {reason(e)}") from e
    try:
        found = np.concatenate([fast([context]), fast([context, context], worth=1)])
    except Exception:  # it takes no such masks or positions
        return slow
    return fast if np.abs(found - expected).max() < APART[model.net.get_input_embeddings().weight.dtype] else slow
