"""Words after a text, scored by a model that writes from left to right."""

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fedbbpt.types import Float32
from fedbbpt_backends.verbalizer import Context, length_buckets

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

AT_ONCE = 2048  # tokens of one forward pass, padding included
WORTH = 64  # tokens that sharing must save: it takes a pass of its own
POSITIONS = 256  # whose probabilities over the whole vocabulary are computed at a time


class CausalScorer:
    """All words of all classes after each context, in one forward pass for many contexts.

    What contexts share, the prompt before the text, is read once and its keys and values are kept. The words of all
    classes stand behind each context side by side: a mask lets each see the context and itself only, and they count
    positions from the context's end. So a context is read once, however many classes there are and however many tokens
    they take.
    """

    def __init__(self, model: "TextModel", words: Sequence[tuple[int, ...]]) -> None:
        self._base: Any = model.net.base_model
        accepted = signature(self._base.forward).parameters
        self._cache = "cache" if "cache" in accepted else "past_key_values"  # its name before transformers 5.24
        self._embed: Any = model.net.get_input_embeddings()
        self._head: Any = model.net.get_output_embeddings()
        device = self._head.weight.device
        self._first = torch.tensor([word[0] for word in words], device=device)
        parents = [(c, j) for c, word in enumerate(words) for j in range(len(word) - 1)]
        self._class = torch.tensor([c for c, _ in parents], dtype=torch.long, device=device)  # (S,)
        self._depth = torch.tensor([j for _, j in parents], dtype=torch.long, device=device)
        self._read = torch.tensor([words[c][j] for c, j in parents], dtype=torch.long, device=device)
        self._next = torch.tensor([words[c][j + 1] for c, j in parents], dtype=torch.long, device=device)
        self._sees = (self._class[:, None] == self._class) & (self._depth[:, None] >= self._depth)  # (S, S)

    def __call__(self, contexts: list[Context], worth: int = WORTH) -> Float32:
        """See `Scorer`; what would save `worth` tokens is read once."""
        result = np.empty((len(contexts), len(self._first)), np.float32)
        with torch.inference_mode():
            for shared, rows in _groups(contexts, worth):
                start = embed_prefix(self._embed, contexts[rows[0]]) if shared else None
                past = None if start is None else self._read_once(start)
                inside = 0 if start is None else len(start)
                lengths = [len(contexts[i]) + len(self._read) for i in rows]
                for piece in length_buckets(lengths, AT_ONCE):
                    some = [rows[i] for i in piece]
                    embed = embed_suffix if shared else embed_all
                    own = [embed(self._embed, contexts[i]) for i in some]
                    result[some] = self._forward(own, past, inside).cpu().numpy()
        return result

    def _read_once(self, start: Tensor) -> Any:
        """Keys and values of what stands before many texts, vectors (P, D)."""
        from transformers import DynamicCache

        past = DynamicCache()
        self._base(inputs_embeds=start[None], use_cache=True, **{self._cache: past})
        return past

    def _forward(self, own: list[Tensor], past: Any, inside: int) -> Tensor:
        """Log-probabilities (b, C) of the words behind contexts (t, D) that go on from `inside` tokens of `past`."""
        lengths = torch.tensor([len(one) for one in own], device=self._head.weight.device)
        x = pad_sequence(own, batch_first=True)  # (b, T, D)
        b, t, _ = x.shape
        words = self._embed(self._read).expand(b, -1, -1)  # (b, S, D)
        keys = torch.arange(t, device=lengths.device)
        causal = (keys[:, None] >= keys).expand(b, t, t)
        context = (keys < lengths[:, None])[:, None].expand(b, len(self._read), t)
        top = torch.cat([causal, causal.new_zeros(b, t, len(self._read))], 2)
        bottom = torch.cat([context, self._sees.expand(b, -1, -1)], 2)
        seen = torch.cat([top, bottom], 1)  # (b, T + S, T + S)
        seen = torch.cat([seen.new_ones(b, seen.shape[1], inside), seen], 2)
        mask = torch.zeros(seen.shape, dtype=x.dtype, device=x.device).masked_fill(~seen, torch.finfo(x.dtype).min)
        places = torch.cat([keys.expand(b, -1), lengths[:, None] + self._depth], 1) + inside
        hidden = self._base(
            inputs_embeds=torch.cat([x, words], 1),
            attention_mask=mask[:, None],
            position_ids=places,
            use_cache=past is not None,
            **({} if past is None else {self._cache: _copies(past, b)}),
        ).last_hidden_state
        last = hidden[torch.arange(b, device=x.device), lengths - 1]
        scores = self._log_probabilities(last[:, None].expand(-1, len(self._first), -1), self._first, last)
        later = hidden[:, t:]
        more = self._log_probabilities(later, self._next, later.reshape(-1, later.shape[-1]))
        return scores.index_add(1, self._class, more)

    def _log_probabilities(self, hidden: Tensor, tokens: Tensor, distinct: Tensor) -> Tensor:
        """Of tokens (c,) by hidden states (b, c, D), whose normalisers are those of `distinct` (·, D), each once.

        The words' own scores in float32: in bfloat16 a score of 20 is known to a sixteenth only.
        """
        bias = getattr(self._head, "bias", None)
        own = torch.einsum("bcd,cd->bc", hidden.float(), self._head.weight[tokens].float())
        if bias is not None:
            own = own + bias[tokens].float()
        norms = [self._head(some).float().logsumexp(-1) for some in distinct.split(POSITIONS)]
        return own - torch.cat(norms).reshape(len(hidden), -1)


def embed_prefix(embed: Any, context: Context) -> Tensor:
    """(P, D): vectors and what stands before the text."""
    words = embed_tokens(embed, context.prefix)
    return words if context.soft_prompt is None else torch.cat([torch.from_numpy(context.soft_prompt).to(words), words])


def embed_suffix(embed: Any, context: Context) -> Tensor:
    """(t, D): the text and what stands behind it."""
    return embed_tokens(embed, (*context.text, *context.suffix))


def embed_all(embed: Any, context: Context) -> Tensor:
    """(P + t, D): a context as the model reads it."""
    return torch.cat([embed_prefix(embed, context), embed_suffix(embed, context)])


def embed_tokens(embed: Any, ids: tuple[int, ...]) -> Tensor:
    """(t, D): tokens."""
    vectors: Tensor = embed(torch.tensor(ids, dtype=torch.long, device=embed.weight.device))
    return vectors


def _groups(contexts: list[Context], worth: int) -> list[tuple[bool, list[int]]]:
    """Rows that share what stands before the text, where that is worth it; and all others together."""
    alike: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for i, context in enumerate(contexts):
        alike.setdefault((id(context.soft_prompt), context.prefix), []).append(i)
    alone: list[int] = []
    groups = []
    for rows in alike.values():
        one = contexts[rows[0]]
        shared = len(one) - len(one.text) - len(one.suffix)
        if (len(rows) - 1) * shared >= worth:
            groups.append((True, rows))
        else:
            alone += rows
    return [*groups, (False, alone)] if alone else groups


def _copies(past: Any, count: int) -> Any:
    """Keys and values of one text (1, h, P, d), as if of that many."""
    from transformers import DynamicCache

    copies = DynamicCache()
    for number, layer in enumerate(past.layers):
        copies.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), number)
    return copies
