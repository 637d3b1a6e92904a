"""Anybody's images: a folder with one folder a class."""

import functools
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import PositiveInt

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Pool, is_test
from fedbbpt.data.images import open_picture
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
        files = self._sides[side]
        images = [open_picture(file, size) for file, _ in files]
        return Dataset(np.stack(images), np.array([label for _, label in files], np.int64))

    @functools.cached_property
    def _sides(self) -> dict[str, list[tuple[Path, int]]]:
        """Which file, with its label, is the provider's, for training or for the test."""
        sides: dict[str, list[tuple[Path, int]]] = {"provider": [], "train": [], "test": []}
        shown: set[bytes] = set()  # to the provider: copies of these are not the clients' either
        for label, (name, files) in enumerate(self._files.items()):
            contents = [file.read_bytes() for file in files]
            tested = [is_test(content) for content in contents]
            left = self._provider_shots
            if tested.count(False) < left + 2 or tested.count(True) < 1:
                raise DataError(
                    f"class {name!r} has too few images: its {len(files)} fall into {tested.count(False)} for training "
                    f"and {tested.count(True)} for the test; {left} for the provider (task.provider_shots) "
                    "and at least 2 + 1 for the clients are needed"
                )
            for file, content, for_test in zip(files, contents, tested, strict=True):
                digest = sha256(content).digest()
                side = "test" if for_test else "provider" if left > 0 or digest in shown else "train"
                if side == "provider":
                    left -= 1
                    shown.add(digest)
                sides[side].append((file, label))
        return sides
