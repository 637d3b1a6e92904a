"""What backends are asked in tests, and a provider for them."""

import numpy as np

from fedbbpt.backend import Backend, Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.testing.toy import CLASSES
from fedbbpt.types import Dataset, Float32, Inputs, Size

TEXTS = ("a red film", "", "  two\nlines, ünd more ", "blue", "a green one, and green again")
SLACK = 0.05  # by which scores of an input may differ in another batch, of the largest: a model may compute in bfloat16


def toy_provider() -> Provider:
    """Knows four examples of each of three colours, pictures of any size or texts."""

    def shots(size: Size) -> Dataset:
        labels = np.arange(12) % len(CLASSES)
        if size is None:
            return Dataset(as_texts([f"{CLASSES[label]} as the {i}" for i, label in enumerate(labels)]), labels)
        pictures = np.random.default_rng(0).integers(0, 120, (12, 3, *size))
        pictures[np.arange(12), labels] += 100
        return Dataset(pictures.astype(np.uint8), labels)

    return Provider(CLASSES, shots=shots, question="Colour")


def queried(backend: Backend, count: int = len(TEXTS)) -> Inputs:
    """Images or texts that differ, as many as a query may hold."""
    count, size = min(count, backend.info.max_batch), backend.info.input_size
    if size is None:
        return as_texts(TEXTS[:count])
    return (np.random.default_rng(1).integers(0, 256, (count, 3, *size)) / 255).astype(np.float32)


def equal(a: Float32, b: Float32) -> bool:
    """Whether two arrays of scores have the same bits."""
    return a.tobytes() == b.tobytes()


def close(a: Float32, b: Float32) -> bool:
    """Whether scores are the same but for what another batch may change."""
    largest = float(np.max(np.abs(a), initial=0, where=np.isfinite(a)))
    return np.allclose(a, b, rtol=0, atol=SLACK * largest, equal_nan=True)
