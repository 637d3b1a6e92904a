"""Scores label words in a cloze, with a masked language model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fedbbpt.types import Float32
from fedbbpt_backends.verbalizer import Context, length_buckets

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

MAX_TOKENS = 1024  # per forward pass, padding included: each has scores over the whole vocabulary


class MaskedScorer:
    """Scores each class's label words at as many masks as they have tokens; one forward pass serves all of one length.

    log p = Σ_j log p(mask j = token j | the text with all its masks): given the text, the tokens of a label word are
    treated as independent.
    """

    def __init__(self, model: "TextModel", words: Sequence[tuple[int, ...]]) -> None:
        self._net: Any = model.net
        self._embed: Any = model.net.get_input_embeddings()
        self._mask = model.tokenizer.mask_token_id
        self._by_length: dict[int, list[int]] = {}
        for c, word in enumerate(words):
            self._by_length.setdefault(len(word), []).append(c)
        self._words = words

    def __call__(self, contexts: list[Context]) -> Float32:
        """See `Scorer`."""
        result = np.empty((len(contexts), len(self._words)), np.float32)
        with torch.inference_mode():
            for gap, classes in self._by_length.items():
                wanted = torch.tensor([self._words[c] for c in classes], device=self._embed.weight.device)  # (c, gap)
                for rows in length_buckets([len(context) + gap - 1 for context in contexts], MAX_TOKENS):
                    scores = self._forward([contexts[i] for i in rows], gap, wanted)
                    result[np.ix_(rows, classes)] = scores.cpu().numpy()
        return result

    def _forward(self, contexts: list[Context], gap: int, wanted: Tensor) -> Tensor:
        """Log-probabilities (b, c) of label words, token ids (c, gap)."""
        device = self._embed.weight.device
        x, places = [], []
        for context in contexts:
            at = context.suffix.index(self._mask)
            after = (*context.suffix[:at], *[self._mask] * gap, *context.suffix[at + 1 :])
            ids = torch.tensor((*context.prefix, *context.text, *after), device=device)
            own = self._embed(ids)
            vectors = own[:0] if context.soft_prompt is None else torch.from_numpy(context.soft_prompt).to(own)
            x.append(torch.cat([own[:1], vectors, own[1:]]))  # [CLS] stays first
            places.append(len(vectors) + len(context.prefix) + len(context.text) + at)
        lengths = torch.tensor([len(one) for one in x], device=device)
        padded = pad_sequence(x, batch_first=True)
        mask = (torch.arange(padded.shape[1], device=device) < lengths[:, None]).long()
        logits = self._net(inputs_embeds=padded, attention_mask=mask).logits  # (b, T, vocabulary)
        where = torch.tensor(places, device=device)[:, None] + torch.arange(gap, device=device)  # (b, gap)
        at_gap = logits[torch.arange(len(x), device=device)[:, None], where].float().log_softmax(-1)
        return at_gap[:, torch.arange(gap, device=device), wanted].sum(-1)
