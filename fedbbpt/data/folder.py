"""A user's own images: a folder with one folder per class."""

import functools
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Task, TaskData, layout
from fedbbpt.data.cells import doubts
from fedbbpt.data.images import open_images
from fedbbpt.data.train_test_split import SplitIndices, drop_duplicates, group_ids, train_test_split
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.text_files import absolute_path
from fedbbpt.types import Dataset, Size

DARK = 20  # of 255: the brightest value of 12 bits in a 16-bit file, and some room for resizing


class Folder(Task):
    """Your own images: `folder:PATH` with one folder per class, or with train/ and test/ above these.

    About a fifth of each class becomes test data. A hash of the files' contents decides which (see `train_test_split`),
    so that copies of an image stay on one side. A split into train/ and test/ (and val/) folders is used as it is,
    without the copies. `provider_shots_per_class` training images of each class belong to the provider, who fits a head
    to them where the model has no classes of its own; the clients never see these. With 0, the provider has none.

    Raises:
        DataError: see `layout.read`; or there are too few images, or an unreadable one.
    """

    modality: Modality = "image"

    def __init__(self, source: str | None, /, *, provider_shots_per_class: NonNegativeInt = 4) -> None:
        if not source:
            raise ConfigError("task 'folder' needs a path: --task folder:PATH, a folder with one folder per class")
        try:
            root = absolute_path(source)
        except ValueError as e:
            raise DataError(f"cannot read {source!r}: {e}") from e
        self.source = str(root)
        self.metadata = {"title": f"images in {root}"}
        self._found = layout.read(
            root, min_classes=2 if provider_shots_per_class else 1
        )  # a site may hold a single one
        self.classes = self._found.classes
        self.remarks: list[str] = [*self._found.remarks, *doubts(self.classes)]
        self._provider_shots = provider_shots_per_class
        shots = (lambda size: self._read(self._split.provider, size)) if provider_shots_per_class else None
        self.provider = Provider(self.classes, shots=shots)

    def load(self, size: Size) -> TaskData:
        """See `Task`."""
        split = self._split
        validation = self._read(split.validation, size) if split.validation else None
        train, test = (self._read(rows, size) for rows in (split.train, split.test))
        data = TaskData(train, test, validation, provider_examples=len(split.provider), user_supplied=True)
        self._remark_if_dark([train, test])
        shots = self.provider.shots and self.provider.shots(size)
        return drop_duplicates(data, shots, self.classes, self.remarks)

    def _remark_if_dark(self, subsets: list[Dataset]) -> None:
        brightest = [one.inputs[i].max() for one in subsets for i in range(len(one))]
        if dark := sum(value <= DARK for value in brightest):
            self.remarks.append(
                f"{dark:,} of {len(brightest):,} images are nearly black; if they hold 12 bits in 16, or "
                "numbers of classes, stretch their values"
            )

    def _read(self, rows: list[int], size: Size) -> Dataset:
        labels = np.array([self._found.labels[i] for i in rows], np.int64)
        images = open_images([self._found.files[i] for i in rows], size)
        return Dataset(images, labels, groups=group_ids(self._digests, rows))

    @functools.cached_property
    def _digests(self) -> list[bytes]:
        return [_digest(file) for file in self._found.files]

    @functools.cached_property
    def _split(self) -> SplitIndices:
        found = self._found
        split = train_test_split(
            self._digests,
            found.labels,
            found.classes,
            self._provider_shots,
            "images",
            found.subsets,
            lambda i: str(found.files[i]),
        )
        if split.copies:
            copies = f"copies of earlier ones: {len(split.copies):,} ({found.files[split.copies[0]]}, …)"
            self.remarks.append(f"images left out of test and validation, since they are {copies}")
        return split


def _digest(file: Path) -> bytes:
    try:
        return sha256(file.read_bytes()).digest()
    except OSError as e:
        raise DataError(f"cannot read {file}: {(e.strerror or str(e)).lower()}") from e
