"""GGUF files, converted to the layout of Hugging Face."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from fedbbpt_backends import gguf
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
import transformers  # noqa: E402


def test_a_gguf_file_is_converted_to_hugging_faces_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is ours: the weights and the config are written so that they load as any folder does."""
    config = transformers.LlamaConfig(
        vocab_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=16,
        tie_word_embeddings=True,
    )
    model = transformers.LlamaForCausalLM(config)
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "film": 1}, "a"))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: model)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: fast)
    gguf.convert(tmp_path / "model.gguf", tmp_path)
    monkeypatch.undo()
    loaded, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    for name, weight in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name].float(), weight, atol=1e-3)
