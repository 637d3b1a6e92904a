"""Distils the teacher into the student.

The loss of a batch is the sum of
- 1 − cosine between the projected class token and the teacher's embedding, centred over its group of views: without
  the centring most of the loss is spent on telling the sources apart;
- the relational term: the divergence between the teacher's and the student's distributions of similarity to the other
  views of the same source in the batch (Passalis & Tefas 2018; temperature τ);
- cross-entropy on the training labels of those sources that have classes, each among its own task's classes.
The projection and the classifier are dropped afterwards. What a step does depends on the settings, its number and the
weights alone, so a run that was killed goes on from its last checkpoint to the same end.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from fedbbpt_benchmarks.experiments.pretrain import score, student
from fedbbpt_benchmarks.experiments.pretrain.embed import Embedded

SHARES = {  # of a batch
    "cifar10": 0.5,
    "mnist": 0.08,
    "emoji-twitter": 0.06,
    "emoji-google": 0.06,
    "emoji-fluent": 0.06,
    "openclipart": 0.1,
    "letters": 0.06,
    "photographs": 0.08,
}
MIRRORED = ("cifar10", "photographs", "openclipart", "emoji-twitter", "emoji-google", "emoji-fluent")
PACE_OF_NEW = 10.0  # learning rate of projection and classifier, as a multiple of the student's
EVERY = 100  # steps between checkpoints


@dataclass(frozen=True)
class Settings:
    """All that decides the result beside the data."""

    steps: int = 5200
    batch: int = 128
    learning_rate: float = 6e-5
    warm_up: int = 50
    weight_decay: float = 0.05
    relational: float = 0.3
    temperature: float = 0.1
    label: float = 0.2
    seed: int = 0


class Trainer(nn.Module):
    """Student, projection and classifier with their optimizer; `step` counts the updates made."""

    def __init__(self, data: Embedded, settings: Settings, device: str) -> None:
        super().__init__()
        self.data, self.settings, self.device = data, settings, device
        self.rows = {name: np.flatnonzero(data.sources == name) for name in SHARES}
        self.targets = torch.tensor(_centred(data)).to(device)
        task = np.char.partition(data.sources, "-")[:, 0]
        learnt = (data.labels != "") & np.isin(data.sources, list(SHARES))
        names = np.where(learnt, np.char.add(np.char.add(task, "/"), data.labels), "")
        classes = sorted(set(names) - {""})
        self.labels = torch.tensor([classes.index(n) if n else -1 for n in names]).to(device)
        tasks = np.array([c.partition("/")[0] for c in classes])
        self.rivals = torch.tensor(tasks[:, None] == tasks).to(device)  # (C, C): of the same task
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.projection = nn.Linear(student.WIDTH, data.targets.shape[1])
            self.classifier = nn.Linear(student.WIDTH, len(classes))
        self.student = student.start()
        self.to(device)
        self.optimizer = torch.optim.AdamW(self._groups(), betas=(0.9, 0.999), fused=True)
        self.step = 0
        self.curve: list[dict[str, float]] = []

    def update(self) -> float:
        """One step on a batch of its own; the loss before it."""
        rng = np.random.default_rng([self.settings.seed, self.step])
        rows = np.concatenate(
            [rng.choice(self.rows[name], round(share * self.settings.batch)) for name, share in SHARES.items()]
        )
        mirrored = np.isin(self.data.sources[rows], MIRRORED)
        pixels = augmented(torch.tensor(self.data.images[rows]).to(self.device), mirrored, rng)
        self.student.train()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            token = self.student(student.normalise(pixels)).last_hidden_state[:, 0]
        loss = self.loss(token.float(), rows)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate() * group["pace"]
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def loss(self, token: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Of class tokens (b, D) for these rows of the data."""
        s = self.settings
        ours, theirs = nn.functional.normalize(self.projection(token), dim=-1), self.targets[rows]
        cosine = 1 - (ours * theirs).sum(-1).mean()
        sources = self.data.sources[rows]
        apart = torch.tensor((sources[:, None] != sources) | np.eye(len(rows), dtype=bool)).to(token.device)
        wanted = (theirs @ theirs.T / s.temperature).masked_fill(apart, -1e4).softmax(-1)
        given = (ours @ ours.T / s.temperature).masked_fill(apart, -1e4).log_softmax(-1)
        relational = nn.functional.kl_div(given, wanted, reduction="batchmean")
        known = self.labels[rows] >= 0
        truth = self.labels[rows][known]
        logits = self.classifier(token[known]).masked_fill(~self.rivals[truth], -1e4)
        return cosine + s.relational * relational + s.label * nn.functional.cross_entropy(logits, truth)

    def _groups(self) -> list[dict[str, Any]]:
        """Matrices decay, vectors do not; what starts from nothing learns faster than what was pretrained."""
        s, paces = self.settings, {self.student: 1.0, self.projection: PACE_OF_NEW, self.classifier: PACE_OF_NEW}
        return [
            {
                "params": [p for p in module.parameters() if (p.ndim == 2) == decays],
                "weight_decay": s.weight_decay if decays else 0.0,
                "pace": pace,
            }
            for module, pace in paces.items()
            for decays in (True, False)
        ]

    def _rate(self) -> float:
        """Linear warm-up, then half a cosine to zero."""
        s = self.settings
        if self.step < s.warm_up:
            return s.learning_rate * (self.step + 1) / s.warm_up
        return s.learning_rate * (1 + np.cos(np.pi * (self.step - s.warm_up) / (s.steps - s.warm_up))) / 2

    def held_out(self) -> dict[str, float]:
        """On pictures that are never trained on: closeness to the teacher, accuracy of class means (two-fold)."""
        rows = np.flatnonzero(self.data.sources == "held-out")
        token = self._tokens(rows)
        with torch.inference_mode():
            ours = nn.functional.normalize(self.projection(token), dim=-1)
        cosine = (ours * self.targets[rows]).sum(-1).mean().item()
        features = token.cpu().numpy()
        labels = np.unique(self.data.labels[rows], return_inverse=True)[1]
        folds = np.arange(len(rows)) % 2 == 0
        accuracy = [score.class_means(features[f], labels[f], features[~f], labels[~f]) for f in (folds, ~folds)]
        return {"step": self.step, "cosine": cosine, "class_means": float(np.mean(accuracy))}

    @torch.inference_mode()
    def _tokens(self, rows: NDArray[np.int64]) -> Tensor:
        """Class tokens (n, D) of whole views, not augmented."""
        self.student.eval()
        size = (student.SIZE, student.SIZE)
        pixels = torch.tensor(self.data.images[rows]).to(self.device).float() / 255
        pixels = nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            return self.student(student.normalise(pixels)).last_hidden_state[:, 0].float()

    def save(self, file: Path) -> None:
        """Everything that the next step depends on, replaced in one move."""
        tensors = {f"model.{name}": value for name, value in self.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
        metadata = {"step": str(self.step), "settings": repr(self.settings), "curve": json.dumps(self.curve)}
        partial = file.with_suffix(".partial")
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial, metadata)
        partial.replace(file)

    def restore(self, file: Path) -> None:
        """Goes on where `save` was called; a checkpoint of other settings is left alone."""
        with safetensors.safe_open(file, "pt", device=self.device) as stored:
            metadata = stored.metadata()
            if metadata["settings"] != repr(self.settings):
                return
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
        self.load_state_dict({n.removeprefix("model."): v for n, v in tensors.items() if n.startswith("model.")})
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, i, key = name.split(".")
                states.setdefault(int(i), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.step, self.curve = int(metadata["step"]), json.loads(metadata["curve"])


def train(
    data: Embedded, settings: Settings, folder: Path, device: str, progress: Callable[[int, float], None]
) -> tuple[Any, list[dict[str, float]]]:
    """The trained student and its curve on held-out pictures; `folder` holds the checkpoint of a killed run."""
    trainer = Trainer(data, settings, device)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.is_file():
        trainer.restore(checkpoint)
    started, before = time.perf_counter(), trainer.curve[-1]["seconds"] if trainer.curve else 0.0
    while trainer.step < settings.steps:
        loss = trainer.update()
        progress(trainer.step, loss)
        if trainer.step % EVERY == 0 or trainer.step == settings.steps:
            seconds = before + time.perf_counter() - started
            trainer.curve.append(trainer.held_out() | {"seconds": seconds})
            trainer.save(checkpoint)
    return trainer.student.eval(), trainer.curve


def augmented(images: Tensor, mirrored: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
    """uint8 views (b, 3, 96, 96) -> pixels in [0, 1] (b, 3, 70, 70): cropped, perhaps mirrored, other light."""
    b = len(images)
    zoom = rng.uniform(0.8, 1.0, b)
    shift = rng.uniform(-1, 1, (b, 2)) * (1 - zoom)[:, None]
    flip = np.where(mirrored & (rng.random(b) < 0.5), -1, 1)
    theta = np.zeros((b, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = zoom * flip, zoom, shift
    grid = nn.functional.affine_grid(
        torch.tensor(theta).to(images.device), [b, 3, student.SIZE, student.SIZE], align_corners=False
    )
    pixels = nn.functional.grid_sample(images.float() / 255, grid, padding_mode="reflection", align_corners=False)
    gain = torch.tensor(rng.uniform(0.8, 1.2, (b, 1, 1, 1)) * rng.uniform(0.95, 1.05, (b, 3, 1, 1))).float()
    light = torch.tensor(rng.uniform(-0.1, 0.1, (b, 1, 1, 1))).float()
    return (pixels * gain.to(images.device) + light.to(images.device)).clamp(0, 1)


def _centred(data: Embedded) -> NDArray[np.float32]:
    """Unit targets, each less the mean of its group."""
    targets = data.targets.copy()
    groups = np.char.add(np.char.add(data.sources, "/"), data.kinds)
    for group in np.unique(groups):
        targets[groups == group] -= targets[groups == group].mean(0)
    return targets / np.linalg.norm(targets, axis=1, keepdims=True)
