"""Scores label words after a text, with a causal language model."""

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

MAX_TOKENS = 2048  # per forward pass, padding included
MIN_SAVED_TOKENS = 64  # a shared prefix is read once if that saves more: it takes a forward pass of its own
POSITIONS = 256  # per chunk, when normalising over the vocabulary


class CausalScorer:
    """Scores all label words of all classes after each context, in one forward pass for many contexts.

    A prefix that contexts share is read once, and its keys and values are cached. The label words of all classes follow
    each context side by side: the attention mask lets each see the context and itself only, and their positions count
    from the end of the context. So each context is read once, whatever the number of classes and of their tokens.
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

    def __call__(self, contexts: list[Context], min_saved: int | None = None) -> Float32:
        """See `Scorer`; a shared prefix is cached if that saves at least `min_saved` tokens."""
        min_saved = MIN_SAVED_TOKENS if min_saved is None else min_saved
        result = np.empty((len(contexts), len(self._first)), np.float32)
        with torch.inference_mode():
            for shared, rows in _groups(contexts, min_saved):
                start = embed_prefix(self._embed, contexts[rows[0]]) if shared else None
                past = None if start is None else self._prefill(start)
                inside = 0 if start is None else len(start)
                lengths = [len(contexts[i]) + len(self._read) for i in rows]
                for piece in length_buckets(lengths, MAX_TOKENS):
                    some = [rows[i] for i in piece]
                    embed = embed_suffix if shared else embed_all
                    own = [embed(self._embed, contexts[i]) for i in some]
                    result[some] = self._forward(own, past, inside).cpu().numpy()
        return result

    def _prefill(self, start: Tensor) -> Any:
        """The key-value cache of a shared prefix (P, D)."""
        from transformers import DynamicCache

        past = DynamicCache()
        self._base(inputs_embeds=start[None], use_cache=True, **{self._cache: past})
        return past

    def _forward(self, own: list[Tensor], past: Any, inside: int) -> Tensor:
        """Log-probabilities (b, C) of the label words after contexts (t, D), which follow `inside` cached tokens."""
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
            **({} if past is None else {self._cache: _expanded(past, b)}),
        ).last_hidden_state
        last = hidden[torch.arange(b, device=x.device), lengths - 1]
        scores = self._log_probabilities(last[:, None].expand(-1, len(self._first), -1), self._first, last)
        later = hidden[:, t:]
        more = self._log_probabilities(later, self._next, later.reshape(-1, later.shape[-1]))
        return scores.index_add(1, self._class, more)

    def _log_probabilities(self, hidden: Tensor, tokens: Tensor, distinct: Tensor) -> Tensor:
        """Log-probabilities (b, c) of tokens (c,) from hidden states (b, c, D).

        `distinct` (·, D) holds each different hidden state once, to normalise over the vocabulary. The logits of the
        tokens are computed in float32: bfloat16 resolves a logit of 20 only to 1/16.
        """
        bias = getattr(self._head, "bias", None)
        own = torch.einsum("bcd,cd->bc", hidden.float(), self._head.weight[tokens].float())
        if bias is not None:
            own = own + bias[tokens].float()
        norms = [self._head(some).float().logsumexp(-1) for some in distinct.split(POSITIONS)]
        return own - torch.cat(norms).reshape(len(hidden), -1)


def embed_prefix(embed: Any, context: Context) -> Tensor:
    """The soft prompt and the prefix, (P, D)."""
    words = embed_tokens(embed, context.prefix)
    return words if context.soft_prompt is None else torch.cat([torch.from_numpy(context.soft_prompt).to(words), words])


def embed_suffix(embed: Any, context: Context) -> Tensor:
    """The text and the suffix, (t, D)."""
    return embed_tokens(embed, (*context.text, *context.suffix))


def embed_all(embed: Any, context: Context) -> Tensor:
    """The whole context, (P + t, D)."""
    return torch.cat([embed_prefix(embed, context), embed_suffix(embed, context)])


def embed_tokens(embed: Any, ids: tuple[int, ...]) -> Tensor:
    """Token ids as vectors, (t, D)."""
    vectors: Tensor = embed(torch.tensor(ids, dtype=torch.long, device=embed.weight.device))
    return vectors


def _groups(contexts: list[Context], min_saved: int) -> list[tuple[bool, list[int]]]:
    """Rows that share a prefix, if caching it saves `min_saved` tokens; all other rows form one group."""
    alike: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for i, context in enumerate(contexts):
        alike.setdefault((id(context.soft_prompt), context.prefix), []).append(i)
    alone: list[int] = []
    groups = []
    for rows in alike.values():
        one = contexts[rows[0]]
        shared = len(one) - len(one.text) - len(one.suffix)
        if (len(rows) - 1) * shared >= min_saved:
            groups.append((True, rows))
        else:
            alone += rows
    return [*groups, (False, alone)] if alone else groups


def _expanded(past: Any, count: int) -> Any:
    """Keys and values of one text (1, h, P, d), expanded to `count` texts without copying."""
    from transformers import DynamicCache

    copies = DynamicCache()
    for number, layer in enumerate(past.layers):
        copies.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), number)
    return copies
