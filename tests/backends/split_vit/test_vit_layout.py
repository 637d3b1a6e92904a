"""Each kind of vision transformer that can be cut: its parts are the whole model, and take a prompt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm

from fedbbpt.errors import ConfigError

Load, Make = Callable[..., Any], Callable[..., Any]
Source = tuple[str, Path | None]  # a model's name, and where its weights are
CUTS = [(1, 1), (3, 0), (0, 1)]


def _hugging_face(kind: str, folder: Path) -> str:
    """A tiny random model, as Hugging Face saves it."""
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"image_size": 32, "patch_size": 8, "initializer_range": 0.3}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPVisionConfig(**sizes, projection_dim=12, initializer_factor=2.0)
        net = transformers.CLIPVisionModelWithProjection(config)
    elif kind == "deit":
        net = transformers.DeiTModel(transformers.DeiTConfig(**sizes), add_pooling_layer=False)
    else:
        config = transformers.ViTConfig(**sizes, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1})
        net = transformers.ViTForImageClassification(config)
    net.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.4, 0.5], "image_std": [0.5, 0.3, 0.5]}')
    return f"dir:{folder}"


def _timm(name: str, folder: Path) -> tuple[str, Path]:
    import timm
    from safetensors.torch import save_file

    net = timm.create_model(name, pretrained=False)
    torch.manual_seed(0)
    for parameter in net.parameters():  # new blocks do next to nothing
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    save_file(net.state_dict(), folder / "weights.safetensors")
    return f"timm:{name}", folder / "weights.safetensors"


@pytest.fixture(
    params=[
        "embedded",
        "vit",
        "deit",
        "clip",
        "timm:test_vit",
        "timm:test_vit3",
        "timm:deit_tiny_distilled_patch16_224",
    ]
)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """Each kind of model that can be cut; of timm's, some that pool in other ways than by a class token."""
    if request.param == "embedded":
        return "embedded", None
    if request.param.startswith("timm:"):
        return _timm(request.param.removeprefix("timm:"), tmp_path)
    return _hugging_face(request.param, tmp_path), None


@pytest.mark.parametrize(("head", "tail"), CUTS)
def test_the_parts_are_the_whole(
    source: Source, head: int, tail: int, network: Load, make_split: Make, images: np.ndarray
) -> None:
    """A classifier that passes features on, up to a constant: log-probabilities then differ as features do."""
    whole = network(*source)
    features = whole.features(images)
    width = features.shape[1]
    features = layer_norm(torch.from_numpy(features), (width,)).numpy()
    split = make_split(*source, head, tail, num_classes=width)
    passing = np.concatenate([np.eye(width, dtype=np.float32).ravel(), np.zeros(width, np.float32)])
    found = split.forward({**split.init(0), "classifier": passing}, images)
    centred = (a - a.mean(1, keepdims=True) for a in (found, features))
    np.testing.assert_allclose(*centred, rtol=1e-5, atol=1e-5 * np.abs(features).max())
    assert features.std() > 1e-3
    assert split.sizes["head"] + split.sizes["body"] + split.sizes["tail"] == sum(
        p.numel() for n, p in whole.model.net.named_parameters() if not n.startswith(("head", "classifier"))
    )


@pytest.mark.parametrize("deep", [False, True])
def test_a_prompt_goes_through_every_model(source: Source, deep: bool, make_split: Make, images: np.ndarray) -> None:
    split = make_split(*source, 2, 1, num_prompt_tokens=4, deep_prompt=deep)
    parameters = split.parameters()
    bare = make_split(*source, 2, 1)
    values, plain = (s.head(s.parameters(), images, frozenset()).values for s in (split, bare))
    assert values.shape == (3, plain.shape[1] + 4, plain.shape[2])
    assert split.sizes["prompt"] == (2 if deep else 1) * 4 * values.shape[2]
    output, gradients = split.round_trip(parameters, images)
    assert {part: g.shape for part, g in gradients.items()} == {part: (n,) for part, n in split.sizes.items()}
    assert all(np.isfinite(g).all() and g.any() and g.dtype == np.float32 for g in gradients.values())
    np.testing.assert_allclose(output.probabilities.sum(1), 1, rtol=1e-5)


def test_features_are_without_the_prompt(tmp_path: Path, make_split: Make) -> None:
    """Where features come from all tokens, those of the prompt are no part of them."""
    split = make_split(*_timm("test_vit3", tmp_path), 1, 0, num_prompt_tokens=4)
    parameters = split.parameters()
    values = np.random.default_rng(3).normal(size=(2, 9, split.sizes["prompt"] // 4)).astype(np.float32)
    others = [values.copy() for _ in range(3)]
    for other, changed in zip(others, (slice(1, 5), slice(0, 1), slice(5, 6)), strict=True):
        other[:, changed] = -other[:, changed]
    expected, same, first, next_ = (split.predict(parameters, x) for x in (values, *others))
    np.testing.assert_array_equal(same, expected)
    assert not np.allclose(first, expected)
    assert not np.allclose(next_, expected)


def test_what_is_not_made_of_blocks(tmp_path: Path, make_split: Make) -> None:
    with pytest.raises(ConfigError, match=r"EfficientNet.* cannot be partitioned"):
        make_split(*_timm("test_efficientnet", tmp_path))


def test_other_kinds_of_blocks(tmp_path: Path, make_split: Make) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"dinov2.* cannot be partitioned"):
        make_split(f"dir:{tmp_path}")


@pytest.mark.parametrize("cut", [{"head": 7, "tail": 1}, {"head": -1, "tail": 1}, {"head": 1, "tail": -1}])
def test_too_few_blocks(cut: dict[str, int], make_split: Make) -> None:
    with pytest.raises(ConfigError, match="embedded has 8 blocks"):
        make_split(**cut)
