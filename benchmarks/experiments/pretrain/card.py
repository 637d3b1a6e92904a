"""What the model card says: accuracies beside those of the teacher, of pixels and of an untrained network; speed."""

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

from fedbbpt.data.images import to_array
from fedbbpt.templates import render
from fedbbpt.types import Float32
from fedbbpt_backends.heads import load_head
from fedbbpt_backends.local_vit import Network
from fedbbpt_benchmarks import images
from fedbbpt_benchmarks.experiments.pretrain import embed, score, student, tasks, train, views
from fedbbpt_benchmarks.experiments.pretrain.sample import sample
from fedbbpt_benchmarks.images import ImageExample

PIXELS = (32, 32)
REPETITIONS = 5
UNSEEN = ("wesnoth-races", "wesnoth-terrain", "faenza")
MANY = 3000  # examples a side
READINGS = {"10-NN": score.nearest_neighbours, "16 shots": score.few_shots, "probe": score.linear_probe}
Reader = Callable[[str, list[ImageExample]], Float32]  # name of the set, pictures -> features


def measure(folder: Path, cache: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """All numbers of the card for the student saved in `folder`; the teacher's embeddings are kept in `cache`."""
    network = Network(f"dir:{folder}", None, "float32", "auto", 512)
    device = network.device
    with tempfile.TemporaryDirectory() as other:
        student.save(student.untrained(0), Path(other))
        untrained = Network(f"dir:{other}", None, "float32", device, 512)
    readers: dict[str, Reader] = {
        "student": lambda _, some: network.features(score.stacked(some, network.model.size)),
        "teacher": lambda name, some: _teacher(cache, name, some, device),
        "pixels": lambda _, some: score.stacked(some, PIXELS).reshape(len(some), -1),
        "untrained": lambda _, some: untrained.features(score.stacked(some, network.model.size)),
    }
    table: dict[str, Any] = {}
    for name, task in tasks.TASKS.items():
        data = sample(task)
        row: dict[str, Any] = {"title": task.title, "seen": task.seen, "classes": int(data.train_labels.max()) + 1}
        row |= {"train": len(data.train), "test": len(data.test)}
        for model, read in readers.items():
            x, test_x = read(f"{name}-train", data.train), read(f"{name}-test", data.test)
            row[model] = {k: f(x, data.train_labels, test_x, data.test_labels) for k, f in READINGS.items()}
        table[name] = row
        progress(f"{task.title}: " + ", ".join(f"{m} {row[m]['16 shots']:.3f}" for m in readers))
    unseen = measure_unseen({name: read for name, read in readers.items() if name != "teacher"})
    return {"tasks": table, "large": _large(network), "unseen": unseen, "speed": speed(folder, device)}


def measure_unseen(readers: dict[str, Reader]) -> dict[str, dict[str, Any]]:
    """16-shot class means on as many pictures of the unseen domains as there are; the teacher would take too long."""
    found: dict[str, dict[str, Any]] = {}
    for name in UNSEEN:
        data = sample(tasks.TASKS[name], limit=MANY)
        row: dict[str, Any] = {"title": tasks.TASKS[name].title, "train": len(data.train), "test": len(data.test)}
        for model, read in readers.items():
            x, test_x = read(f"{name}-train", data.train), read(f"{name}-test", data.test)
            row[model] = score.few_shots(x, data.train_labels, test_x, data.test_labels)
        found[name] = row
    return found


def _large(network: Network) -> dict[str, float]:
    """The two claims that deserve more examples than a row of the table has."""
    everything, (_, unseen) = list(images.cifar10()), images.cifar10_split()
    cifar10 = [everything[i] for i in unseen]
    mnist = list(images.mnist("train", 11_000))[3_000:], list(images.mnist("test", 10_000))
    names = sorted({picture.label for picture in cifar10})
    labels = np.array([names.index(picture.label) for picture in cifar10])
    x = network.features(score.stacked(cifar10, network.model.size))
    digits = [network.features(score.stacked(side, network.model.size)) for side in mnist]
    values = [np.array([int(picture.label) for picture in side]) for side in mnist]
    return {
        "cifar10_class_means": score.class_means(x[:1000], labels[:1000], x[1000:], labels[1000:]),
        "cifar10_linear_probe": score.linear_probe(x[:1000], labels[:1000], x[1000:], labels[1000:]),
        "cifar10_10_nn": score.nearest_neighbours(x[:1000], labels[:1000], x[1000:], labels[1000:]),
        "mnist_linear_probe": score.linear_probe(digits[0], values[0], digits[1], values[1]),
    }


def speed(folder: Path, device: str, repetitions: int = REPETITIONS) -> dict[str, float]:
    """Queries/s of the student and of the teacher at 224 px, taking turns in this process; medians."""
    teacher = embed.load_teacher(device)
    networks = {dtype: Network(f"dir:{folder}", None, dtype, device, 512) for dtype in ("bfloat16", "float32")}
    rng = np.random.default_rng(0)
    large = torch.tensor(rng.integers(0, 256, (16, 3, 224, 224), np.uint8))
    small = rng.random((512, 3, student.SIZE, student.SIZE), np.float32)
    runs = {f"student_{dtype}": _rate(network.features, small) for dtype, network in networks.items()}
    runs["teacher_bfloat16"] = _rate(teacher, large)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            rate = run()
            if repetition:  # the first warms up
                taken[name].append(rate)
    medians = {name: statistics.median(rates) for name, rates in taken.items()}
    return medians | {"ratio": medians["student_bfloat16"] / medians["teacher_bfloat16"]}


def _rate(function: Callable[[Any], Any], inputs: Any) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        function(inputs)
        return len(inputs) / (time.perf_counter() - start)

    return run


def _teacher(cache: Path, name: str, some: list[ImageExample], device: str) -> Float32:
    """Embeddings (n, 512) of the pictures as they are, at 224 px; kept, since they take minutes."""
    cache.mkdir(parents=True, exist_ok=True)
    digest = sha256(" ".join(picture.key for picture in some).encode()).hexdigest()
    file = cache / f"{name}-{digest[:16]}.npy"
    if not file.is_file():
        model = embed.load_teacher(device)
        pieces = [some[i : i + embed.CHUNK] for i in range(0, len(some), embed.CHUNK)]
        images = (np.stack([to_array(p.image, (224, 224)) for p in piece]) for piece in pieces)
        partial = file.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.save(stream, np.concatenate([model(torch.tensor(batch)).cpu().numpy() for batch in images]))
        partial.replace(file)
    embeddings: Float32 = np.load(file)
    return embeddings


def write(folder: Path, numbers: dict[str, Any], data: embed.Embedded) -> None:
    """The model card, `README.md`, and the numbers in it, `scores.json`, beside the weights."""
    sources = {}
    for name in train.SHARES:
        source, kinds = views.SOURCES[name], data.kinds[data.sources == name]
        each = source.whole + source.crop + source.mix
        sources[name] = {"pictures": len(kinds) // each, "views": len(kinds), "mixed": int((kinds == "mix").sum())}
        sources[name]["licence"] = source.licence
    with safetensors.safe_open(folder / "model.safetensors", "numpy") as file:
        parameters = sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    heads = {path.stem: len(load_head(str(path), student.WIDTH).classes) for path in (folder / "heads").iterdir()}
    facts = {
        "blocks": student.BLOCKS, "width": student.WIDTH, "patch": student.PATCH, "size": student.SIZE,
        "parameters": parameters, "bytes": (folder / "model.safetensors").stat().st_size,
        "heads": dict(sorted(heads.items())), "held_out": views.HELD_OUT, "digits": views.DIGITS,
        "views": len(data.kinds), "repetitions": REPETITIONS, "machine": _machine(),
    }  # fmt: skip
    numbers |= {"sources": sources, "facts": facts}
    (folder / "scores.json").write_text(json.dumps(numbers, indent=1) + "\n")
    (folder / "README.md").write_text(page(numbers))


def page(numbers: dict[str, Any]) -> str:
    """The card as Markdown."""
    functions = {"share": _share, "cell": lambda model: " / ".join(map(_share, model.values()))}
    return render("fedbbpt_benchmarks.experiments.pretrain", "card.md.j2", numbers | functions)


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 1 else "1.000"
