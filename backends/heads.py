"""Linear classification heads that a provider puts on a feature model."""

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

PARTS = ("weight", "bias")  # in the file of a head
DTYPES = ("F16", "F32", "F64")
ARRAYS = ("weight", "bias", "centre", "cosine")  # of a `LinearHead`
COSINE_SCALE = 20.0  # of prototype scores: a difference of .05 in cosine is one nat


class LinearHead(NamedTuple):
    """scores = weight · (feature − centre) + bias; with `cosine`, the centred features are scaled to unit length."""

    weight: Float32  # (C, D)
    bias: Float32  # (C,)
    centre: Float32  # (D,)
    cosine: bool
    classes: tuple[str, ...]

    @classmethod
    def fitted(cls, provider: Provider, make: "Callable[[], LinearHead]") -> "LinearHead":
        """The head fitted to the provider's shots: `make()`, or its result from the start of a resumed run."""
        arrays = provider.fit(lambda: {key: np.asarray(part) for key, part in zip(ARRAYS, make(), strict=False)})
        weight, bias, centre, cosine = (arrays[key] for key in ARRAYS)
        return cls(weight, bias, centre, bool(cosine), provider.classes)

    def __call__(self, features: Float32) -> Float32:
        """Features (b, D) -> scores (b, C)."""
        centred = features - self.centre
        if self.cosine:
            centred /= np.linalg.norm(centred, axis=1, keepdims=True) + np.float32(1e-12)
        return centred @ self.weight.T + self.bias


def builtin_heads() -> list[str]:
    """The names of the heads that come with the embedded model."""
    return sorted(path.stem for path in embedded.HEADS.glob("*.safetensors"))


def load_head(name: str, dim: int) -> LinearHead:
    """Loads a head of the embedded model by name, or any safetensors file with `weight` (C, D) and `bias` (C,).

    The file's metadata may name the classes (`classes`, a JSON list); by default they are "0", "1", …

    Raises:
        UnknownName: there is no such head or file.
        BackendError: the file is not a head, or is for features of another length than `dim`.
    """
    path = embedded.HEADS / f"{name}.safetensors" if name in builtin_heads() else Path(name)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises if the name is too long
        raise UnknownName("head", name, [*builtin_heads(), "own", "prototypes", "linear", "PATH.safetensors"])
    try:
        with safetensors.safe_open(path, "numpy") as file:
            for key in PARTS:
                if (kind := file.get_slice(key).get_dtype()) not in DTYPES:
                    raise ValueError(f"{key} holds {kind}, and {', '.join(DTYPES)} are read")
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


def fit_prototypes(features: Float32, labels: Int64, classes: tuple[str, ...]) -> LinearHead:
    """Cosine similarity to the class means of centred features (nearest prototype, Snell et al. 2017)."""
    centre = features.mean(0)
    unit = features - centre
    unit /= np.linalg.norm(unit, axis=1, keepdims=True) + 1e-12
    means = np.stack([unit[labels == label].mean(0) for label in range(len(classes))])
    means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-12
    weight = (COSINE_SCALE * means).astype(np.float32)
    return LinearHead(weight, np.zeros(len(classes), np.float32), centre, True, classes)


def fit_linear(features: Float32, labels: Int64, classes: tuple[str, ...], c: float = 1.0) -> LinearHead:
    """Multinomial logistic regression on standardised features; `c` is scikit-learn's C, the inverse L2 penalty."""
    from sklearn.linear_model import LogisticRegression

    centre, scale = features.mean(0), features.std(0) + 1e-6
    fit: Any = LogisticRegression(C=c, max_iter=1000).fit((features - centre) / scale, labels)
    weight, bias = fit.coef_, fit.intercept_
    if len(classes) == 2:  # scikit-learn returns a single row
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return LinearHead((weight / scale).astype(np.float32), bias.astype(np.float32), centre, False, classes)


Fit = Callable[[Float32, Int64, tuple[str, ...]], LinearHead]  # of features (n, D), labels (n,) and class names
FITTERS: dict[str, Fit] = {
    "prototypes": fit_prototypes,
    "linear": fit_linear,
}


class FeatureModel(Protocol):
    """A model that may need a head."""

    name: str
    size: Size
    logits: Callable[..., Any] | None  # None without a classifier of its own


class FeatureNetwork(Protocol):
    """A loaded model that computes features."""

    model: FeatureModel

    def features(self, inputs: Inputs) -> Float32:
        """Features (b, D), float32."""


def resolve_head(name: str, network: FeatureNetwork, provider: Provider) -> LinearHead | None:
    """The head of that name, fitted if necessary; None for the model's own classifier or bare features.

    `auto` takes the first one available of `own`, the head that the task names, and `prototypes`, else bare features.

    Raises:
        UnknownName: there is no such head.
        ConfigError: the head does not fit the model, or the task's provider has no examples to fit it to.
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
                f"backend.classifier={name} needs the provider's shots, and this task has none; use another "
                "classifier, or a file: -o backend.classifier=PATH.safetensors"
            )
        give = provider.shots

        def make() -> LinearHead:
            shots = give(model.size)
            return FITTERS[name](network.features(shots.batch(slice(None)).inputs), shots.labels, provider.classes)

        return LinearHead.fitted(provider, make)
    blank = np.zeros((1, 3, *model.size), np.float32) if model.size else as_texts([""])
    return load_head(name, network.features(blank).shape[1])
