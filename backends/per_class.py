"""Scores label words one class at a time, from the model's own logits: correct for every causal model, and slow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from fedbbpt.errors import BackendError
from fedbbpt.types import Float32
from fedbbpt_backends.causal import CausalScorer, embed_all, embed_tokens
from fedbbpt_backends.loading import short_reason
from fedbbpt_backends.verbalizer import Context, Scorer, length_buckets

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

MAX_TOKENS = 512  # per forward pass, padding included: each has scores over the whole vocabulary
TOLERANCE = {torch.float32: 1e-2, torch.bfloat16: 0.5}  # nats by which both scorers may differ


class PerClassScorer:
    """For models that `CausalScorer` cannot handle.

    These are models without attention, with relative or local attention, and those whose logits are not just the
    product of hidden states and output embeddings.
    """

    def __init__(self, model: "TextModel", words: Sequence[tuple[int, ...]]) -> None:
        self._net: Any = model.net
        self._embed: Any = model.net.get_input_embeddings()
        self._words = words

    def __call__(self, contexts: list[Context]) -> Float32:
        """See `Scorer`."""
        result = np.empty((len(contexts), len(self._words)), np.float32)
        with torch.inference_mode():
            for c, word in enumerate(self._words):
                for rows in length_buckets([len(context) + len(word) for context in contexts], MAX_TOKENS):
                    result[rows, c] = self._forward([contexts[i] for i in rows], word).cpu().numpy()
        return result

    def _forward(self, contexts: list[Context], word: tuple[int, ...]) -> torch.Tensor:
        """Log-probabilities (b,) of one class's label words."""
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
    """The fast `CausalScorer` if, on this context, it agrees with the model's own logits; else `PerClassScorer`.

    Raises:
        BackendError: the model gives no logits for a text.
    """
    slow, fast = PerClassScorer(model, words), CausalScorer(model, words)
    try:
        expected = slow([context])[0]
    except Exception as e:  # models raise anything for inputs that they do not accept
        raise BackendError(f"{model.name} does not score label words: {short_reason(e)}") from e
    try:
        found = np.concatenate([fast([context]), fast([context, context], min_saved=1)])
    except Exception:  # the model does not accept such masks or positions
        return slow
    return fast if np.abs(found - expected).max() < TOLERANCE[model.net.get_input_embeddings().weight.dtype] else slow
