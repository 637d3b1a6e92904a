"""A tiny vision transformer, and what measures it."""

import functools
from collections.abc import Callable

import pytest

from fedbbpt.config import Config
from fedbbpt_backends.torchvision_compat import ensure_importable
from fedbbpt_benchmarks.experiments.costs.measure import Stand, configs
from fedbbpt_benchmarks.experiments.costs.vit_sizes import Shape

ensure_importable()
DIGITS = {i: str(i) for i in range(10)}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random ViT of another shape than the embedded one, with a head for digits."""
    import transformers

    folder = tmp_path_factory.mktemp("tiny")
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48}
    labels = {"id2label": DIGITS, "label2id": {name: i for i, name in DIGITS.items()}}
    config = transformers.ViTConfig(**sizes, **labels, image_size=32, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")
    return f"dir:{folder}"


@pytest.fixture(scope="session")
def tiny_shape() -> Shape:
    """That of `tiny`."""
    return Shape("tiny", blocks=4, width=16, mlp=48, patches=16, patch=8)


@functools.cache
def _configs(model: str = "embedded", **options: object) -> dict[str, Config]:
    algorithm = {"name": "sfprompt", **options}
    return configs("digits", {"algorithm": algorithm, "backend": {"name": "local-vit", "model": model}})


@pytest.fixture(scope="session")
def make_configs() -> Callable[..., dict[str, Config]]:
    """`make_configs(model, **options)`: the config of each method, with other options of the algorithm."""
    return _configs


@pytest.fixture(scope="session")
def tiny_stand(tiny: str) -> Stand:
    """Measures `tiny` on seven samples."""
    return Stand(_configs(tiny)["sfprompt"], 7)


@pytest.fixture(scope="session")
def embedded_stand() -> Stand:
    """Measures the embedded model on three samples."""
    return Stand(_configs()["sfprompt"], 3)
