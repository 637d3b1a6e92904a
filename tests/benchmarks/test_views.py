"""The views of the pretraining, and that none of them is of a picture that the suite tests on."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from fedbbpt.data import hash_split
from fedbbpt_benchmarks import images
from fedbbpt_benchmarks.experiments.pretrain import provider, tasks, views
from fedbbpt_benchmarks.experiments.pretrain.sample import sample
from fedbbpt_benchmarks.images import ImageExample


def keyed(prefix: str, count: int = 400) -> list[ImageExample]:
    return [ImageExample(f"{prefix}/{i}", f"class {i % 3}", Image.new("RGB", (8, 8))) for i in range(count)]


@pytest.fixture
def archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that answer with keyed blanks, as many as the real archives hold where the number decides the split."""
    monkeypatch.setattr(images, "cifar10", lambda: keyed("cifar10", 10_000))
    monkeypatch.setattr(images, "mnist", lambda side, count: keyed(f"mnist/{side}", count))
    monkeypatch.setattr(images, "emoji", lambda vendor: keyed("emoji"))
    monkeypatch.setattr(images, "large_photographs", lambda: keyed("photo", 5))
    for reader in ("clipart", "scripts", "emoji_tones", "wesnoth_races", "wesnoth_terrain", "faenza", "textile"):
        monkeypatch.setattr(images, reader, lambda reader=reader: keyed(reader))


@pytest.mark.usefixtures("archives")
class TestSplits:
    """Training never meets a test picture, whichever way the two are asked for."""

    @pytest.mark.parametrize("task", [t for t in tasks.TASKS if t != "textures"])
    def test_no_test_picture_of_a_task_is_trained_on(self, task: str) -> None:
        trained = {p.key for name, source in views.SOURCES.items() if name != "held-out" for p in source.read()}
        tested = {p.key for p in tasks.TASKS[task].read().test}
        assert tested
        assert not trained & tested

    def test_the_sides_of_a_task_share_no_key(self) -> None:
        for name, task in tasks.TASKS.items():
            if name != "textures":
                sides = task.read()
                assert not {p.key for p in sides.train} & {p.key for p in sides.test}, name

    def test_what_looks_like_a_training_picture_is_not_tested(self) -> None:
        def flag(key: str, grey: int) -> ImageExample:
            return ImageExample(key, "flag", Image.new("L", (4, 4), grey))

        sides = tasks.Sides([flag("a", 1), flag("b", 2)], [flag("c", 2), flag("d", 3)])
        drawn = sample(tasks.CardTask("flags", tasks.NEVER, lambda: sides, limit=1))
        assert [picture.key for picture in drawn.test] == ["d"]

    def test_cifar_pictures_are_those_of_the_agreed_permutation(self) -> None:
        allowed = {f"cifar10/{i}" for i in np.random.default_rng(0).permutation(10_000)[:5000]}
        trained, held_out = (list(views.SOURCES[name].read()) for name in ("cifar10", "held-out"))
        assert {p.key for p in trained} | {p.key for p in held_out} == allowed
        assert len(trained) == 4500
        assert len(held_out) == 500

    def test_everything_split_by_key_is_on_the_training_side(self) -> None:
        for name in ("emoji-twitter", "emoji-google", "emoji-fluent", "openclipart", "letters"):
            read = list(views.SOURCES[name].read())
            assert read, name
            assert not any(hash_split(picture.key) == "test" for picture in read), name

    def test_provider_heads_are_fitted_on_the_training_side(self) -> None:
        fitted = provider.training_pictures()
        assert set(fitted) == {"mnist", "cifar10", "emoji"}
        _, unseen = images.cifar10_split()
        assert not {p.key for p in fitted["cifar10"]} & {f"cifar10/{i}" for i in unseen}
        assert all(p.key.startswith("mnist/train/") for p in fitted["mnist"])
        assert not any(hash_split(p.key) == "test" for p in fitted["emoji"])

    def test_no_gpl_archive_is_a_source(self) -> None:
        assert {"wesnoth", "faenza"}.isdisjoint(name.partition("-")[0] for name in views.SOURCES)


@pytest.mark.usefixtures("small_world")
class TestRendering:
    def test_the_plan_holds_every_view_once_in_an_order_of_its_own(self) -> None:
        plan, read = views.plan()
        assert len(set(plan)) == len(plan)
        expected = sum(len(read[n]) * (s.whole + s.crop + s.mix) for n, s in views.SOURCES.items())
        assert len(plan) == expected
        assert plan == views.plan()[0]
        assert [v.source for v in plan] != sorted(v.source for v in plan)

    @pytest.mark.parametrize("kind", ["whole", "crop", "mix"])
    def test_a_view_is_the_same_picture_every_time(
        self, kind: str, pictures_of: Callable[[str], list[ImageExample]]
    ) -> None:
        read = {"cifar10": pictures_of("cifar10")}
        view = views.View("cifar10", kind, 3, 0)
        first, second = views.render(view, read), views.render(view, read)
        assert first.shape == (3, views.SIZE, views.SIZE)
        assert first.dtype == np.uint8
        np.testing.assert_array_equal(first, second)

    @pytest.mark.parametrize("kind", ["crop", "mix"])
    def test_another_seed_is_another_view(self, kind: str, pictures_of: Callable[[str], list[ImageExample]]) -> None:
        read = {"cifar10": pictures_of("cifar10")}
        view = views.View("cifar10", kind, 3, 0)
        other = dataclasses.replace(view, seed=1)
        assert not np.array_equal(views.render(view, read), views.render(other, read))

    def test_transparency_becomes_white_in_crops_too(self) -> None:
        clear = [ImageExample("a", "", Image.new("RGBA", (40, 40), (0, 0, 0, 0)))]
        view = views.View("photographs", "crop", 0, 0)
        assert (views.render(view, {"photographs": clear}) == 255).all()
