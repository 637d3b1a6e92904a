"""Provider heads: what a provider puts on a feature model so that it answers with class scores."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import safetensors
from safetensors import SafetensorError

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError, UnknownName
from fedbbpt.json_text import parse_strictly
from fedbbpt.types import Float32, Inputs, Int64, Size
from fedbbpt_backends import embedded

PARTS = ("weight", "bias")  # of a head that somebody gives
NUMBERS = ("F16", "F32", "F64")
ARRAYS = ("weight", "bias", "centre", "cosine")  # of a head
COSINE_SCALE = 20.0  # of prototype scores: a cosine difference of .05 is one nat


class LinearHead(NamedTuple):
    """scores = weight · (feature − centre) + bias; on unit-length features where `cosine`."""

    weight: Float32  # (C, D)
    bias: Float32  # (C,)
    centre: Float32  # (D,)
    cosine: bool
    classes: tuple[str, ...]

    @classmethod
    def fitted(cls, provider: Provider, make: "Callable[[], LinearHead]") -> "LinearHead":
        """What is fitted to the provider's shots: `make()`, or what that gave when the run began."""
        arrays = provider.fit(lambda: {key: np.asarray(part) for key, part in zip(ARRAYS, make(), strict=False)})
        weight, bias, centre, cosine = (arrays[key] for key in ARRAYS)
        return cls(weight, bias, centre, bool(cosine), provider.classes)

    def __call__(self, features: Float32) -> Float32:
        """(b, D) -> (b, C)."""
        centred = features - self.centre
        if self.cosine:
            centred /= np.linalg.norm(centred, axis=1, keepdims=True) + np.float32(1e-12)
        return centred @ self.weight.T + self.bias


def builtin_heads() -> list[str]:
    """The heads that come with the embedded model."""
    return sorted(path.stem for path in embedded.HEADS.glob("*.safetensors"))


def load_head(name: str, dim: int) -> LinearHead:
    """A head of the embedded model by name, or any safetensors file with `weight` (C, D) and `bias` (C,).

    Class names come from the file's metadata (`classes`, a JSON list), else they are "0", "1", …
    """
    path = embedded.HEADS / f"{name}.safetensors" if name in builtin_heads() else Path(name)
    if not os.path.isfile(path):  # noqa: PTH113 - of a name that is too long, Path.is_file raises
        raise UnknownName("head", name, [*builtin_heads(), "own", "prototypes", "linear", "PATH.safetensors"])
    try:
        with safetensors.safe_open(path, "numpy") as file:
            for key in PARTS:
                if (kind := file.get_slice(key).get_dtype()) not in NUMBERS:
                    raise ValueError(f"{key} holds {kind}, and {', '.join(NUMBERS)} are read")
            weight, bias = (file.get_tensor(key).astype(np.float32) for key in PARTS)
            classes = parse_strictly((file.metadata() or {}).get("classes", "null").encode())
    except (SafetensorError, ValueError) as e:
        raise BackendError(f"{path} is not a provider head (safetensors with 'weight' and 'bias'): {e}") from e
    if weight.ndim != 2 or weight.shape[1] != dim or bias.shape != weight.shape[:1]:
        raise BackendError(f"head {path} is {weight.shape} + {bias.shape}, but the model's features have {dim} numbers")
    names = [str(i) for i in range(len(bias))] if classes is None else classes
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(bias):
        raise BackendError(f"head {path}: 'classes' in its metadata must be a JSON list of {len(bias)} different names")
    return LinearHead(weight, bias, np.zeros(dim, np.float32), False, tuple(names))


def prototypes(features: Float32, labels: Int64, classes: tuple[str, ...]) -> LinearHead:
    """Cosine to the class means of centred features (nearest prototype)."""
    centre = features.mean(0)
    unit = features - centre
    unit /= np.linalg.norm(unit, axis=1, keepdims=True) + 1e-12
    means = np.stack([unit[labels == label].mean(0) for label in range(len(classes))])
    means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-12
    weight = (COSINE_SCALE * means).astype(np.float32)
    return LinearHead(weight, np.zeros(len(classes), np.float32), centre, True, classes)


def linear(features: Float32, labels: Int64, classes: tuple[str, ...], strength: float = 1.0) -> LinearHead:
    """Multinomial logistic regression on standardised features (scikit-learn, C = `strength`)."""
    from sklearn.linear_model import LogisticRegression

    centre, scale = features.mean(0), features.std(0) + 1e-6
    fit: Any = LogisticRegression(C=strength, max_iter=1000).fit((features - centre) / scale, labels)
    weight, bias = fit.coef_, fit.intercept_
    if len(classes) == 2:  # scikit-learn keeps one row then
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return LinearHead((weight / scale).astype(np.float32), bias.astype(np.float32), centre, False, classes)


Fit = Callable[[Float32, Int64, tuple[str, ...]], LinearHead]  # features (n, D), labels (n,) and classes
FITTERS: dict[str, Fit] = {
    "prototypes": prototypes,
    "linear": linear,
}


class FeatureModel(Protocol):
    """What a head is put on."""

    name: str
    size: Size
    logits: Callable[..., Any] | None  # None without a classifier of its own


class FeatureNetwork(Protocol):
    """A model that runs."""

    model: FeatureModel

    def features(self, inputs: Inputs) -> Float32:
        """(b, D)."""


def resolve_head(name: str, network: FeatureNetwork, provider: Provider) -> LinearHead | None:
    """The head of that name, fitted where it has to be; None for the model's own classifier, if it has one.

    `auto` is the first that is there of: own, the named head that the task asks for, prototypes, none at all.

    Raises:
        UnknownName: no such head.
        ConfigError: it does not go with the model, or the task's provider has no examples for it.
    """
    model = network.model
    if name == "auto":
        if model.logits is not None:
            name = "own"
        elif provider.head in builtin_heads() and model.name == "embedded":
            name = provider.head
        elif provider.shots is not None:
            name = "prototypes"
        else:
            return None
    if name == "own":
        if model.logits is None:
            raise ConfigError(f"{model.name} has no classifier of its own; use another backend.classifier")
        return None
    if name in builtin_heads() and model.name != "embedded":
        raise ConfigError(f"head {name!r} was made for the embedded model, not for {model.name}")
    if name in FITTERS:
        if provider.shots is None:
            raise ConfigError(
                f"backend.classifier={name} is fitted to the provider's shots, which this task does not have"
            )
        give = provider.shots

        def make() -> LinearHead:
            shots = give(model.size)
            return FITTERS[name](network.features(shots.batch(slice(None)).inputs), shots.labels, provider.classes)

        return LinearHead.fitted(provider, make)
    blank = np.zeros((1, 3, *model.size), np.float32) if model.size else as_texts([""])
    return load_head(name, network.features(blank).shape[1])
