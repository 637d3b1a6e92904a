"""Anybody's images: a folder with one folder a class."""

import functools
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import PositiveInt

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Pool, is_test
from fedbbpt.data.images import open_pictures
from fedbbpt.data.sides import Sides, split
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.types import Dataset, Size

SUFFIXES = frozenset(Image.registered_extensions())


class Folder:
    """Your own images, a folder a class: `folder:PATH`.

    The files' contents decide the split (see `is_test`), so that copies of a picture stay on one side. Of the training
    side, `provider_shots` pictures a class belong to the provider, who builds a head from them where the model has no
    classes of its own; the clients never see these.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, an unreadable picture.
    """

    modality: Modality = "image"
    alpha = 0.3

    def __init__(self, argument: str | None, /, *, provider_shots: PositiveInt = 4) -> None:
        if not argument:
            raise ConfigError("task 'folder' needs a path: --task folder:PATH, with one folder a class in it")
        root = Path(argument).resolve()
        self.argument = str(root)
        self.about = {"title": f"images in {root}"}
        if not root.is_dir():
            raise DataError(f"no folder {root}; --task folder:PATH wants a folder with one folder a class in it")
        self._files = {
            folder.name: sorted(f for f in folder.rglob("*") if f.is_file() and f.suffix.lower() in SUFFIXES)
            for folder in sorted(root.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        }
        if len(self._files) < 2:
            raise DataError(f"{root} holds {len(self._files)} class folder(s); a task needs at least 2")
        if empty := [name for name, files in self._files.items() if not files]:
            raise DataError(f"class {empty[0]!r} has no images in {root / empty[0]}; add some or remove the folder")
        self.classes = tuple(self._files)
        self._provider_shots = provider_shots
        self.provider = Provider(self.classes, shots=lambda size: self._read("provider", size))

    def load(self, size: Size) -> Pool:
        """See `Task`."""
        return Pool(self._read("train", size), self._read("test", size))

    def _read(self, side: str, size: Size) -> Dataset:
        files, labels = self._examples
        rows: list[int] = getattr(self._sides, side)
        return Dataset(open_pictures([files[i] for i in rows], size), np.array([labels[i] for i in rows], np.int64))

    @functools.cached_property
    def _examples(self) -> tuple[list[Path], list[int]]:
        files = [file for of_class in self._files.values() for file in of_class]
        return files, [label for label, of_class in enumerate(self._files.values()) for _ in of_class]

    @functools.cached_property
    def _sides(self) -> Sides:
        files, labels = self._examples
        digests, tested = [], []
        for contents in (file.read_bytes() for file in files):
            digests.append(sha256(contents).digest())
            tested.append(is_test(contents))
        return split(digests, tested, labels, self.classes, self._provider_shots, "images")
