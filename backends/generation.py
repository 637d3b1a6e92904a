"""Classes parsed from generated text, as with a service that returns text only."""

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from fedbbpt.backend import BackendOutput
from fedbbpt.errors import ConfigError
from fedbbpt.types import Inputs
from fedbbpt_backends import answer_parsing
from fedbbpt_backends.causal import MAX_TOKENS, embed_all
from fedbbpt_backends.verbalizer import Context, Verbalizer, length_buckets

if TYPE_CHECKING:
    from fedbbpt_backends.text_models import TextModel

EXTRA_TOKENS = 4  # that an answer may take beyond the longest label word


class Generator:
    """Continues each context greedily and parses the class from the first line.

    Raises:
        ConfigError: the model is not a causal language model.
    """

    def __init__(self, model: "TextModel", verbalizer: Verbalizer) -> None:
        if model.language != "causal":
            raise ConfigError(
                f"{model.name} is not a causal language model; use another backend.classifier than 'generated'"
            )
        self._net: Any = model.net
        self._tokenizer, self._verbalizer = model.tokenizer, verbalizer
        self._max_new_tokens = EXTRA_TOKENS + max(map(len, verbalizer.label_ids))

    def __call__(self, inputs: Inputs) -> BackendOutput:
        """Log-probabilities (b, K) of texts (b,), see `parse_answers`; counts the tokens of contexts and answers."""
        contexts = [self._verbalizer.context(text) for text in inputs]
        texts, read, output = [""] * len(contexts), sum(map(len, contexts)), 0
        for rows in length_buckets([len(context) + self._max_new_tokens for context in contexts], MAX_TOKENS):
            answers = self._generate([contexts[i] for i in rows])
            for i, ids in zip(rows, answers, strict=True):
                text = self._tokenizer.decode(ids, skip_special_tokens=True)
                texts[i] = text.strip().partition("\n")[0]
                output += len(ids)
        return answer_parsing.parse_answers(texts, self._verbalizer.label_words, read + output)._replace(
            output_tokens=output
        )

    def _generate(self, contexts: list[Context]) -> list[list[int]]:
        """The tokens generated after each context, up to the first end-of-text token."""
        embed: Any = self._net.get_input_embeddings()
        x = [embed_all(embed, context) for context in contexts]
        lengths = torch.tensor([len(one) for one in x], device=embed.weight.device)
        padded = pad_sequence(x, batch_first=True, padding_side="left")
        mask = (torch.arange(padded.shape[1], device=lengths.device) >= padded.shape[1] - lengths[:, None]).long()
        end = self._tokenizer.eos_token_id
        with torch.inference_mode():
            ids = self._net.generate(
                inputs_embeds=padded,
                attention_mask=mask,
                max_new_tokens=self._max_new_tokens,
                do_sample=False,
                pad_token_id=0 if end is None else end,
            )
        return [row[: row.index(end)] if end in row else row for row in ids.tolist()]
