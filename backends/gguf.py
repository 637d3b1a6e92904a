"""Converts a GGUF file to Hugging Face's layout, once: reading the file takes half a minute each time."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from fedbbpt.errors import MissingExtra


def convert(file: Path, folder: Path) -> None:
    """Writes the causal language model in `file` to `folder`: weights, config, tokenizer.

    The weights become float16, which has more digits than the file's 4 bits with their scales.

    Raises:
        MissingExtra: accelerate or gguf is not installed.
    """
    try:
        import accelerate  # noqa: F401
        import gguf  # noqa: F401
    except ImportError as e:
        raise MissingExtra("a model in a GGUF file", "local", e) from e
    import transformers

    source: dict[str, Any] = {"gguf_file": file.name}
    with redirect_stderr(io.StringIO()):  # hides a progress bar that has no switch
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(file.parent, **source)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    weights = {name: w.half().contiguous() for name, w in model.state_dict().items()}
    if tied:
        del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # the weights are no longer quantised
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
