"""Small language models made here, as backends that score label words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from fedbbpt.backend import Provider
from fedbbpt_backends.hf_text import HfText
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
import transformers  # noqa: E402

WORDS = [
    "good", "bad", "very", "film", "book", "the", "a", "was", "is", "so", "not", "read", "this", "what", ":", ".", ",",
    "Sentiment", "Topic", "of", "sort", "it", "carefully",
]  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
SIZE |= {"vocab_size": len(SPECIAL) + len(WORDS), "max_position_embeddings": 48}
PROVIDER = Provider(("pos", "neg", "mid"), question="Sentiment", label_words=("good", "very bad", "not so good"))


def _save_masked(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *(word.lower() for word in WORDS)]))
    transformers.BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    transformers.BertForMaskedLM(transformers.BertConfig(**SIZE)).save_pretrained(folder)


def _save_causal(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*SPECIAL, *WORDS])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=2, **SIZE)).save_pretrained(folder)


@pytest.fixture(scope="session")
def models_by_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small model of each kind, as a backend's model."""
    found = {}
    for kind, save in (("masked", _save_masked), ("causal", _save_causal)):
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(1)
        save(folder)
        found[kind] = f"dir:{folder}"
    return found


@pytest.fixture(scope="session")
def open_backend(models_by_kind: dict[str, str]) -> Callable[..., HfText]:
    """`open_backend(name, **options)`: a "causal" or "masked" model, or another's name, with a verbalizer."""

    def build(name: str, **options: object) -> HfText:
        options = {"classifier": "verbalizer", "dtype": "float32"} | options
        return HfText(PROVIDER, model=models_by_kind.get(name, name), **options)

    return build


@pytest.fixture(scope="session")
def provider() -> Provider:
    """Three classes, whose label words are one to three tokens."""
    return PROVIDER


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of different lengths."""
    return ["the film was good", "bad", "a book , very very bad .", "the the the film is not a book"]


@pytest.fixture(scope="session")
def one_at_a_time() -> Callable[..., list[float]]:
    """`one_at_a_time(backend, context, prefix)`: log p of each class's words, by a forward pass for each."""

    def score(backend: HfText, context: str, prefix: np.ndarray | None = None) -> list[float]:
        model = backend.network.model
        scores = []
        for words in PROVIDER.label_words:
            before, after = (model.tokenizer(text)["input_ids"] for text in (context, words))
            vectors = model.net.get_input_embeddings()(torch.tensor([*before, *after]))
            if prefix is not None:
                vectors = torch.cat([torch.from_numpy(prefix), vectors])
            with torch.no_grad():
                log_p = model.net(inputs_embeds=vectors[None]).logits[0].log_softmax(-1)
            start = len(vectors) - len(after)
            scores.append(sum(log_p[start + j - 1, token].item() for j, token in enumerate(after)))
        return scores

    return score
