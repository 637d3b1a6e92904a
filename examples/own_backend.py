"""A backend of your own: here a service that compares 16 × 16 thumbnails with the mean of each class.

Put the class into a package of yours and declare it, in your setup.cfg:

    [options.entry_points]
    fedbbpt.backends =
        thumbnails = own_backend:Thumbnails

Then `fedbbpt train --backend thumbnails --task folder:PATH` trains with it, and `fedbbpt list backends` shows it.
"""

import numpy as np

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Provider
from fedbbpt.errors import ConfigError


class Thumbnails(Backend):
    """Nearest mean thumbnail of the provider's own examples."""

    modalities = ("image",)

    def __init__(self, provider: Provider, /, *, sharpness: float = 50.0) -> None:
        if provider.shots is None:
            raise ConfigError("backend 'thumbnails' needs examples of the provider: use --task folder:PATH")
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
        """Images (b, 3, 32, 32) in [0, 1] to scores (b, C), float32."""
        distances = ((self._shrink(inputs)[:, None] - self._means) ** 2).mean(2)
        return BackendOutput((-self._sharpness * distances).astype(np.float32))

    @staticmethod
    def _shrink(inputs: np.ndarray) -> np.ndarray:
        b = len(inputs)
        return inputs.reshape(b, 3, 16, 2, 16, 2).mean(axis=(1, 3, 5)).reshape(b, 256)
