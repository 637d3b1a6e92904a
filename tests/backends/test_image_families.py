"""Image models of transformers, each against its own forward pass: tiny and random, as they are saved."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedbbpt.backend import Provider
from fedbbpt.errors import BackendError
from fedbbpt_backends.local_vit import LocalViT, Network
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
import transformers as t  # noqa: E402

Save, Load = Callable[..., str], Callable[[str], Any]

VIT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
TEXT = {k: VIT[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
TOWERS = {"vision_config": VIT, "text_config": TEXT | {"vocab_size": 50}}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2}
STAGES = {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]}
PROCESSOR = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.2, 0.3], "do_normalize": True}
SMALL = {"size": {"shortest_edge": 32}, "do_center_crop": False}


@pytest.fixture
def saved(save_image_model: Callable[..., str]) -> Callable[..., str]:
    """`saved(model, processor, **config)`: a model, none of whose weights is zero, as a backend's model."""

    def save(model: Any, processor: dict[str, Any] | None = PROCESSOR, **config: Any) -> str:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
        return save_image_model(model, processor, **config)

    return save


def pictures(size: tuple[int, int]) -> tuple[np.ndarray, Tensor]:
    """Two, and what the models of PROCESSOR read."""
    x = np.random.default_rng(0).random((2, 3, *size), np.float32)
    mean, std = (torch.tensor(PROCESSOR[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    return x, (torch.from_numpy(x) - mean) / std


def towers(model: Any, x: Tensor) -> Tensor:
    output = model.get_image_features(pixel_values=x)
    return output if isinstance(output, Tensor) else output.pooler_output  # in transformers 4, 5


def pooler(model: Any, x: Tensor) -> Tensor:
    return model(x).pooler_output.flatten(1)


def all_patches_in_order(model: Any, x: Tensor) -> Tensor:
    model.config.mask_ratio = 0.0
    return model(x, noise=torch.arange(4.0).expand(2, -1)).last_hidden_state[:, 0]


FAMILIES: dict[str, tuple[Any, dict[str, Any], Callable[[Any, Tensor], Tensor]]] = {
    "a class token": (t.ViTModel, VIT, lambda model, x: model(x).last_hidden_state[:, 0]),
    "no class token": (t.IJepaModel, VIT, lambda model, x: model(x).last_hidden_state.mean(1)),
    "only maps": (t.PoolFormerModel, STAGES, lambda model, x: model(x).last_hidden_state.mean((2, 3))),
    "mean and norm": (t.BeitModel, VIT, pooler),
    "mean of windows": (t.SwinModel, SWIN, pooler),
    "DINOv2": (t.Dinov2Model, VIT, pooler),
    "ConvNeXt": (t.ConvNextModel, STAGES, pooler),
    "ResNet": (t.ResNetModel, {"embedding_size": 8, **STAGES, "layer_type": "basic"}, pooler),
    "CLIP": (t.CLIPModel, TOWERS | {"projection_dim": 12}, towers),
    "attention pooling": (t.SiglipModel, TOWERS, towers),
    "attention pooling alone": (t.SiglipVisionModel, VIT, pooler),
    "one tower, projected": (
        t.CLIPVisionModelWithProjection, VIT | {"projection_dim": 12}, lambda model, x: model(x).image_embeds
    ),
    "masked autoencoder": (t.ViTMAEModel, VIT, all_patches_in_order),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_the_models_own(family: str, saved: Save, network: Load) -> None:
    kind, settings, expected = FAMILIES[family]
    torch.manual_seed(0)
    model = kind(kind.config_class(**settings))
    loaded = network(saved(model, PROCESSOR | SMALL))
    x, values = pictures((32, 32))
    with torch.inference_mode():
        wanted = expected(model, values).numpy()
    features = loaded.features(x)
    np.testing.assert_allclose(features, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(features, loaded.features(x))


CLASSIFIERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ViT": (t.ViTForImageClassification, VIT),
    "Swin": (t.SwinForImageClassification, SWIN),
    "PoolFormer": (t.PoolFormerForImageClassification, STAGES),
    "CLIP": (t.CLIPForImageClassification, TOWERS),
    "SigLIP": (t.SiglipForImageClassification, TOWERS),
    "I-JEPA": (t.IJepaForImageClassification, VIT),
}


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_a_classifier_gives_its_scores_and_what_it_reads(family: str, saved: Save, network: Load) -> None:
    kind, settings = CLASSIFIERS[family]
    torch.manual_seed(0)
    model = kind(kind.config_class(**settings, num_labels=3))
    loaded = network(saved(model, PROCESSOR | SMALL))
    x, values = pictures((32, 32))
    with torch.inference_mode():
        logits = model(pixel_values=values).logits.numpy()
        np.testing.assert_allclose(loaded.logits(x), logits, rtol=1e-4, atol=1e-5)
        again = model.classifier(torch.from_numpy(loaded.features(x))).numpy()
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)


def test_a_distilled_classifier_is_read_at_its_class_token(saved: Save, network: Load) -> None:
    torch.manual_seed(0)
    model = t.DeiTForImageClassificationWithTeacher(t.DeiTConfig(**VIT, num_labels=3))
    loaded = network(saved(model))
    x, values = pictures((32, 32))
    with torch.inference_mode():
        np.testing.assert_allclose(loaded.logits(x), model(values).logits.numpy(), atol=1e-5)
        np.testing.assert_allclose(loaded.features(x), model.deit(values).last_hidden_state[:, 0].numpy(), atol=1e-5)


def test_patches_of_any_number_are_cut_as_the_models_processor_does(saved: Save, network: Load) -> None:
    torch.manual_seed(0)
    vision = {k: v for k, v in VIT.items() if k != "image_size"} | {"num_patches": 4}
    model = t.Siglip2Model(t.Siglip2Config(**TOWERS | {"vision_config": vision}))
    loaded = network(saved(model, PROCESSOR))
    x, values = pictures(loaded.model.size)
    assert loaded.model.size == (32, 32)
    one = [values[:, :, i : i + 16, j : j + 16] for i in (0, 16) for j in (0, 16)]
    patches = torch.stack([patch.permute(0, 2, 3, 1).flatten(1) for patch in one], 1)
    with torch.inference_mode():
        given = {"pixel_attention_mask": torch.ones(2, 4).long(), "spatial_shapes": torch.tensor([[2, 2]] * 2)}
        output = model.get_image_features(pixel_values=patches, **given)
    wanted = output if isinstance(output, Tensor) else output.pooler_output
    np.testing.assert_allclose(loaded.features(x), wanted.numpy(), atol=1e-5)


def test_a_pooler_that_was_never_trained_is_left_out(saved: Save, network: Load) -> None:
    torch.manual_seed(0)
    model = t.BeitForMaskedImageModeling(t.BeitConfig(**VIT, vocab_size=20))
    loaded = network(saved(model))
    x, values = pictures((32, 32))
    with torch.inference_mode():
        wanted = model.beit(values).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(loaded.features(x), wanted, atol=1e-5)


def test_the_tower_for_texts_is_not_kept(saved: Save, network: Load) -> None:
    loaded = network(saved(t.CLIPModel(t.CLIPConfig(**TOWERS, projection_dim=12))))
    assert not [name for name, _ in loaded.model.net.named_parameters() if name.startswith("text")]


def test_a_timm_model_in_a_folder_answers_with_its_own_classes(saved: Save) -> None:
    torch.manual_seed(0)
    names = ["cat", "dog", "eel"]
    args = {"img_size": [32, 48], "in_chans": 1}
    shown = {"input_size": [1, 32, 48], "mean": [0.5], "std": [0.25]}
    config = t.TimmWrapperConfig(architecture="test_vit", num_labels=3, model_args=args, pretrained_cfg=shown)
    model = t.TimmWrapperForImageClassification(config)
    name = saved(model, None, label_names=names)
    vit = LocalViT(Provider(("x", "y")), model=name, dtype="float32")
    assert vit.info.classes == tuple(names)
    assert vit.info.input_size == (32, 48)
    x, _ = pictures((32, 48))
    grey = torch.from_numpy(x[:, :1] * 0.299 + x[:, 1:2] * 0.587 + x[:, 2:] * 0.114)
    with torch.inference_mode():
        wanted = model((grey - 0.5) / 0.25).logits.numpy()
    np.testing.assert_allclose(vit.query(x).scores, wanted, atol=1e-5)
    assert vit.network.features(x).shape == (2, 64)


def test_a_family_without_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, saved: Save, network: Load
) -> None:
    small = {"hidden_sizes": [16, 24, 32], "num_attention_heads": [1, 2, 2], "depths": [1] * 3, "key_dim": [8] * 3}
    name = saved(t.LevitModel(t.LevitConfig(image_size=64, **small)))
    monkeypatch.setattr("fedbbpt_backends.device.fast_dtype", lambda device: torch.bfloat16)
    chosen = Network(name, None, "auto", "cpu", 512)
    assert chosen.dtype == "float32"
    x = pictures((64, 64))[0]
    np.testing.assert_array_equal(chosen.features(x), network(name).features(x))
    with pytest.raises(BackendError, match="cannot compute in bfloat16"):
        Network(name, None, "bfloat16", "cpu", 512)


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "texts": (t.BertModel, TEXT | {"vocab_size": 50}, "type bert, which reads no images"),
    "films": (t.VideoMAEModel, VIT, "cannot be run on an image of 32 × 32 pixels alone"),
    "both at once": (t.ViltModel, VIT | {"vocab_size": 50}, "cannot be run on an image of 32 × 32 pixels alone"),
    "five channels": (t.ViTModel, VIT | {"num_channels": 5}, "images of 5 channels"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_model_that_reads_something_else_is_refused(what: str, saved: Save, network: Load) -> None:
    kind, settings, says = REFUSED[what]
    with pytest.raises(BackendError, match=says):
        network(saved(kind(kind.config_class(**settings))))


def test_a_model_that_draws_is_refused(monkeypatch: pytest.MonkeyPatch, saved: Save, network: Load) -> None:
    name = saved(t.ViTModel(t.ViTConfig(**VIT, hidden_dropout_prob=0.5)))
    monkeypatch.setattr(t.PreTrainedModel, "eval", lambda self: self.train())
    with pytest.raises(BackendError, match="another output each time for the same input"):
        network(name)


def test_a_model_that_says_no_number_is_refused(saved: Save, network: Load) -> None:
    model = t.ViTModel(t.ViTConfig(**VIT))
    with torch.no_grad():
        model.embeddings.cls_token.fill_(float("nan"))
    with pytest.raises(BackendError, match="not finite"):
        network(saved(model))
