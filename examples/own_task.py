"""A task of your own: images of stripes, drawn in code. A table registers more of them.

Declare the classes in your package's setup.cfg, one by one or as a table:

    [options.entry_points]
    fedbbpt.tasks =
        stripes-2 = own_task:Stripes
    fedbbpt.task_tables =
        stripes = own_task:TABLE

Then `fedbbpt task describe stripes-2` shows what it holds, and `fedbbpt train --task stripes-2` trains on it.
"""

import numpy as np
from pydantic import PositiveInt

from fedbbpt.backend import Provider
from fedbbpt.data import Task, TaskData, hash_split
from fedbbpt.errors import ConfigError
from fedbbpt.types import Dataset, Int64, Size


class Stripes(Task):
    """Two directions of noisy stripes."""

    modality = "image"
    directions = 2

    def __init__(self, source: str | None, /, *, images_per_class: PositiveInt = 80) -> None:
        if source is not None:
            raise ConfigError(f"the stripes take nothing after their name, got ':{source}'")
        self.classes = tuple(f"{180 * i // self.directions} degrees" for i in range(self.directions))
        self.metadata = {"title": "noisy stripes", "licence": "Apache-2.0"}
        self.provider = Provider(self.classes, shots=lambda size: self._drawn(np.arange(4 * self.directions), size))
        self._count = images_per_class * self.directions

    def load(self, size: Size) -> TaskData:
        """See `Task`; the first four images of each class are the provider's."""
        numbers = np.arange(4 * self.directions, self._count)
        test = np.array([hash_split(f"stripes/{i}") == "test" for i in numbers])
        return TaskData(self._drawn(numbers[~test], size), self._drawn(numbers[test], size))

    def _drawn(self, numbers: Int64, size: Size) -> Dataset:
        images = [self._draw(int(i), *size) for i in numbers]
        return Dataset(np.stack(images), numbers % self.directions)

    def _draw(self, number: int, height: int, width: int) -> np.ndarray:
        rng = np.random.default_rng(number)  # an image depends on its number alone
        angle = np.pi * (number % self.directions) / self.directions
        rows, columns = np.mgrid[:height, :width] / height
        wave = np.sin(40 * (rows * np.cos(angle) + columns * np.sin(angle)) + rng.uniform(0, 6))
        grey = 127 + 90 * wave + rng.normal(0, 40, wave.shape)
        return np.repeat(grey.clip(0, 255).astype(np.uint8)[None], 3, axis=0)


def _with(directions: int) -> type[Stripes]:
    return type("Stripes", (Stripes,), {"directions": directions, "__doc__": f"{directions} directions of stripes."})


TABLE = {f"stripes-{directions}": _with(directions) for directions in (3, 4, 6)}
