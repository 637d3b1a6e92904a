"""The local vision transformer: the embedded one, and small ones made here for the other sources."""

import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from fedbbpt.backend import Provider
from fedbbpt.data.digits import Digits
from fedbbpt.errors import BackendError, ConfigError, UnknownName
from fedbbpt.types import Dataset
from fedbbpt_backends import embedded
from fedbbpt_backends.local_vit import LocalViT
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
DIGITS = Digits(None)


@pytest.fixture(scope="module")
def vit() -> LocalViT:
    return LocalViT(DIGITS.provider)


@pytest.fixture(scope="module")
def images(vit: LocalViT) -> np.ndarray:
    return DIGITS.load(vit.info.input_size).train.batch(slice(0, 40)).inputs


def test_embedded_model_reads_digits_better_than_chance_and_far_from_well(vit: LocalViT) -> None:
    pool = DIGITS.load(vit.info.input_size).train
    pieces = [pool.batch(slice(i, i + vit.info.max_batch)) for i in range(0, 300, vit.info.max_batch)]
    right = [vit.query(p.inputs).scores.argmax(1) == p.labels for p in pieces]
    assert 0.65 < np.concatenate(right).mean() < 0.8


def test_info(vit: LocalViT) -> None:
    assert vit.info.classes == tuple("0123456789")
    assert vit.info.resolved["dtype"] in ("float32", "bfloat16")
    assert vit.info.max_batch >= 1


def test_the_same_call_gives_the_same_bits(vit: LocalViT, images: np.ndarray) -> None:
    first, second = (
        vit.query(images).scores,
        LocalViT(DIGITS.provider, dtype=vit.info.resolved["dtype"]).query(images).scores,
    )
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)


def test_number_formats_agree(images: np.ndarray) -> None:
    exact, coarse = (LocalViT(DIGITS.provider, dtype=d).query(images).scores for d in ("float32", "bfloat16"))
    assert not np.array_equal(exact, coarse)
    assert np.abs(exact - coarse).mean() < 0.05 * np.abs(exact).mean()


def test_folder_is_the_embedded_model(vit: LocalViT, images: np.ndarray) -> None:
    head = embedded.HEADS / "mnist.safetensors"
    options = {"model": f"dir:{embedded.FOLDER}", "classifier": str(head), "dtype": vit.info.resolved["dtype"]}
    np.testing.assert_array_equal(LocalViT(DIGITS.provider, **options).query(images).scores, vit.query(images).scores)


def test_memory_limits_the_batch() -> None:
    limits = [LocalViT(DIGITS.provider, max_activation_mib=m, dtype="float32").info.max_batch for m in (1, 20, 10_000)]
    assert 1 <= limits[0] < limits[1] < limits[2]


def test_images_of_other_sizes_are_resized_inside(vit: LocalViT) -> None:
    large = DIGITS.load((2 * vit.info.input_size[0], 2 * vit.info.input_size[1])).train.batch(slice(0, 20)).inputs
    small = DIGITS.load(vit.info.input_size).train.batch(slice(0, 20)).inputs
    agree = vit.query(large).scores.argmax(1) == vit.query(small).scores.argmax(1)
    assert agree.mean() >= 0.8


def _shots(size: tuple[int, int]) -> Dataset:
    pool = DIGITS.load(size).train
    return pool.take(np.concatenate([np.flatnonzero(pool.labels == k)[:8] for k in range(10)]))


@pytest.mark.parametrize("head", ["prototypes", "linear"])
def test_heads_fitted_to_the_providers_shots(head: str) -> None:
    provider = Provider(DIGITS.classes, shots=_shots)
    vit = LocalViT(provider, classifier=head)
    rest = DIGITS.load(vit.info.input_size).train.batch(slice(300, 420))
    assert (vit.query(rest.inputs).scores.argmax(1) == rest.labels).mean() > 0.6


def test_two_classes_have_two_scores() -> None:
    def two(size: tuple[int, int]) -> Dataset:
        shots = _shots(size)
        return shots.take(np.flatnonzero(shots.labels < 2))

    vit = LocalViT(Provider(("0", "1"), shots=two), classifier="linear")
    batch = two(vit.info.input_size).batch(slice(None))
    scores = vit.query(batch.inputs).scores
    assert scores.shape == (16, 2)
    assert (scores.argmax(1) == batch.labels).all()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random ViT with a classifier of its own, as Hugging Face saves it."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        id2label={0: "cat", 1: "dog", 2: "eel"}, label2id={"cat": 0, "dog": 1, "eel": 2},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("classifier")
    ViTForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    return folder


def test_a_models_own_classifier(classifier: Path) -> None:
    from transformers import ViTForImageClassification

    vit = LocalViT(Provider(("x", "y")), model=f"dir:{classifier}", dtype="float32")
    assert vit.info.classes == ("cat", "dog", "eel")
    assert vit.info.input_size == (32, 32)
    x = np.random.default_rng(0).random((3, 3, 32, 32), np.float32)
    plain = ViTForImageClassification.from_pretrained(classifier).eval()
    with torch.inference_mode():
        expected = plain(torch.from_numpy((x - 0.5) / 0.5)).logits.numpy()
    np.testing.assert_allclose(vit.query(x).scores, expected, rtol=1e-4, atol=1e-5)


def test_timm_model_from_a_file(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    vit = LocalViT(
        Provider(("x", "y")),
        model="timm:vit_tiny_patch16_224",
        weights=str(tmp_path / "weights.safetensors"),
        dtype="float32",
    )
    assert len(vit.info.classes) == 1000
    assert vit.info.input_size == (224, 224)
    x = np.random.default_rng(0).random((2, 3, 224, 224), np.float32)
    data = timm.data.resolve_model_data_config(net)
    mean, std = (np.array(data[k], np.float32).reshape(3, 1, 1) for k in ("mean", "std"))
    with torch.inference_mode():
        expected = net(torch.from_numpy((x - mean) / std)).numpy()
    np.testing.assert_allclose(vit.query(x).scores, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "embeded"}, "embedded, timm:NAME, hf:ID or dir:PATH"),
        ({"model": "dir:/nowhere"}, "no config.json"),
        ({"model": "timm:vit_tinny"}, "timm has no model"),
        ({"model": "timm:vit_tiny_patch16_224", "weights": "/nowhere.safetensors"}, "cannot load timm"),
        ({"weights": "x"}, "goes with model=timm"),
        ({"classifier": "own"}, "no classifier of its own"),
        ({"classifier": "prototypes"}, "provider's shots"),
        ({"classifier": "nowhere.safetensors"}, "unknown head"),
        ({"device": "tpu9"}, "backend.device"),
    ],
)
def test_what_cannot_be_loaded_is_said_plainly(options: dict[str, str], says: str) -> None:
    with pytest.raises((BackendError, ConfigError, UnknownName), match=says):
        LocalViT(DIGITS.provider, **options)


def test_head_of_another_size(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    safetensors.numpy.save_file({"weight": np.zeros((2, 7), np.float32), "bias": np.zeros(2, np.float32)}, file)
    with pytest.raises(BackendError, match="features have"):
        LocalViT(DIGITS.provider, classifier=str(file))
    file.write_bytes(b"no safetensors")
    with pytest.raises(BackendError, match="is not a provider head"):
        LocalViT(DIGITS.provider, classifier=str(file))


def test_a_folder_that_lacks_weights(classifier: Path, tmp_path: Path) -> None:
    for file in classifier.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    tensors.pop("classifier.weight")
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackendError, match="lacks 1 of its weights"):
        LocalViT(Provider(("x", "y")), model=f"dir:{tmp_path}")


def test_damaged_weights(classifier: Path, tmp_path: Path) -> None:
    for file in classifier.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -100 if file.suffix == ".safetensors" else None])
    with pytest.raises(BackendError, match="cannot load dir:"):
        LocalViT(Provider(("x", "y")), model=f"dir:{tmp_path}")


def test_a_head_of_the_embedded_model_is_for_that_model_only(classifier: Path) -> None:
    with pytest.raises(ConfigError, match="made for the embedded model"):
        LocalViT(Provider(("x", "y")), model=f"dir:{classifier}", classifier="mnist")


def test_the_probe_chooses_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedbbpt_backends import device

    for ratio, expected in ((4.0, torch.bfloat16), (1.1, torch.float32), (0.2, torch.float32)):
        seconds = {torch.float32: ratio, torch.bfloat16: 1.0}
        monkeypatch.setattr(device, "_seconds", lambda dtype, on, seconds=seconds: seconds[dtype])
        device.fast_dtype.cache_clear()
        assert device.fast_dtype("cpu") == expected
    monkeypatch.undo()
    device.fast_dtype.cache_clear()
    assert math.isfinite(device._seconds(torch.float32, "cpu"))
