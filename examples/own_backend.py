"""A backend of your own: a model that compares 16 × 16 thumbnails with the mean thumbnail of each class.

Put the class into your package, and register it in the package's setup.cfg:

    [options.entry_points]
    fedbbpt.backends =
        thumbnails = own_backend:Thumbnails

Once the package is installed, `fedbbpt list backends` shows the backend, and this command trains with it:

    fedbbpt train --backend thumbnails --task folder:PATH

The keyword-only arguments of `__init__` are its options: `-o backend.sharpness=20`.
"""

import numpy as np

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Provider
from fedbbpt.errors import ConfigError


class Thumbnails(Backend):
    """Scores images by their distance to the mean thumbnail of each class, taken from the provider's examples."""

    modalities = ("image",)

    def __init__(self, provider: Provider, /, *, sharpness: float = 50.0) -> None:
        if provider.shots is None:
            raise ConfigError("backend 'thumbnails' needs the provider's examples: use --task folder:PATH")
        self.info = BackendInfo(
            model="thumbnails",
            input_size=(32, 32),
            classes=provider.classes,
            scores="logits",
            max_batch=256,
        )
        shots = provider.shots(self.info.input_size)
        small = self._shrink(shots.batch(slice(None)).inputs)
        self._means = np.stack([small[shots.labels == k].mean(0) for k in range(len(provider.classes))])
        self._sharpness = sharpness

    def query(self, inputs: np.ndarray) -> BackendOutput:
        """Scores (b, C), float32, of images (b, 3, 32, 32) with values in [0, 1]."""
        distances = ((self._shrink(inputs)[:, None] - self._means) ** 2).mean(2)  # (b, C)
        return BackendOutput((-self._sharpness * distances).astype(np.float32))

    @staticmethod
    def _shrink(inputs: np.ndarray) -> np.ndarray:
        b = len(inputs)
        return inputs.reshape(b, 3, 16, 2, 16, 2).mean(axis=(1, 3, 5)).reshape(b, 256)
