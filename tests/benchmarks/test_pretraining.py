"""Embedding and distilling on a small world: both go on after a kill as if nothing had happened."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedbbpt_benchmarks.experiments.pretrain import embed, student, teacher, train

SETTINGS = train.Settings(steps=6, batch=32, warm_up=2)


class FakeTeacher:
    """Answers with a fixed random projection of the pixels; counts; may be killed."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.seen, self._dies_at = 0, dies_at
        rng = np.random.default_rng(0)
        self._matrix = torch.tensor(rng.standard_normal((3 * 8 * 8, teacher.WIDTH)), dtype=torch.float32)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if self._dies_at is not None and self.seen >= self._dies_at:
            raise KeyboardInterrupt
        self.seen += len(images)
        small = torch.nn.functional.adaptive_avg_pool2d(images.float(), 8).flatten(1) / 255 - 0.5
        return torch.nn.functional.normalize(small @ self._matrix, dim=-1)


@pytest.fixture
def data(small_world: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> embed.Embedded:
    monkeypatch.setattr(embed, "load_teacher", lambda device: FakeTeacher())
    return embed.embed(tmp_path, "cpu", lambda done, total: None)


@pytest.fixture
def small_student(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block instead of eight, from random weights."""
    monkeypatch.setattr(student, "BLOCKS", 1)
    monkeypatch.setattr(student, "start", lambda: student.untrained(0))


def test_an_embedding_that_was_killed_goes_on(
    small_world: None, data: embed.Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "load_teacher", lambda device: FakeTeacher(dies_at=2 * embed.CHUNK))
    with pytest.raises(KeyboardInterrupt):
        embed.embed(tmp_path / "killed", "cpu", lambda done, total: None)
    second = FakeTeacher()
    monkeypatch.setattr(embed, "load_teacher", lambda device: second)
    resumed = embed.embed(tmp_path / "killed", "cpu", lambda done, total: None)
    assert second.seen == len(data.images) - 2 * embed.CHUNK
    for ours, theirs in zip(resumed, data, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_nothing_is_embedded_twice(
    small_world: None, data: embed.Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(device: str) -> Any:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(embed, "load_teacher", never)
    again = embed.embed(tmp_path, "cpu", lambda done, total: None)
    np.testing.assert_array_equal(again.targets, data.targets)


def test_blended_and_unlabelled_views_have_no_label(data: embed.Embedded) -> None:
    assert (data.labels[data.kinds == "mix"] == "").all()
    assert (data.labels[np.isin(data.sources, ["openclipart", "photographs"])] == "").all()
    assert (data.labels[(data.sources == "cifar10") & (data.kinds != "mix")] != "").all()


def test_a_training_that_was_killed_ends_with_the_same_bits(
    data: embed.Embedded, small_student: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "EVERY", 2)
    whole, curve = train.train(data, SETTINGS, tmp_path / "whole", "cpu", lambda step, loss: None)

    def dies(step: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(data, SETTINGS, tmp_path / "killed", "cpu", dies)
    steps: list[int] = []
    resumed, resumed_curve = train.train(data, SETTINGS, tmp_path / "killed", "cpu", lambda s, loss: steps.append(s))
    assert steps == [5, 6]
    for point in (*curve, *resumed_curve):
        assert point.pop("seconds") > 0
    assert resumed_curve == curve
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_other_settings_is_not_continued(
    data: embed.Embedded, small_student: None, tmp_path: Path
) -> None:
    train.train(data, SETTINGS, tmp_path, "cpu", lambda step, loss: None)
    steps: list[int] = []
    other = train.Settings(steps=2, batch=32, warm_up=1)
    train.train(data, other, tmp_path, "cpu", lambda step, loss: steps.append(step))
    assert steps == [1, 2]


def test_training_comes_closer_to_the_teacher_and_never_sees_the_held_out(
    data: embed.Embedded, small_student: None
) -> None:
    trainer = train.Trainer(data, train.Settings(steps=40, batch=32, warm_up=4), "cpu")
    assert "held-out" not in trainer.rows
    before = [trainer.update() for _ in range(5)]
    after = [trainer.update() for _ in range(35)][-5:]
    assert np.mean(after) < 0.8 * np.mean(before)


def test_targets_are_centred_by_group(data: embed.Embedded, small_student: None) -> None:
    targets = train.Trainer(data, SETTINGS, "cpu").targets.numpy()
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, atol=1e-5)
    for source, kind in (("cifar10", "mix"), ("cifar10", "whole"), ("photographs", "crop")):
        group = (data.sources == source) & (data.kinds == kind)
        raw = data.targets[group] - data.targets[group].mean(0)
        np.testing.assert_allclose(targets[group], raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)


def test_augmentation_leaves_digits_unmirrored() -> None:
    images = torch.zeros((40, 3, 96, 96), dtype=torch.uint8)
    images[..., :48] = 255  # the left half is bright
    pixels = train.augmented(images, np.arange(40) < 20, np.random.default_rng(0))
    left_is_brighter = (pixels[..., :35].mean((1, 2, 3)) > pixels[..., 35:].mean((1, 2, 3))).numpy()
    assert left_is_brighter[20:].all()
    assert 0 < left_is_brighter[:20].sum() < 20
    assert pixels.shape == (40, 3, student.SIZE, student.SIZE)
    assert 0 <= pixels.min() <= pixels.max() <= 1
