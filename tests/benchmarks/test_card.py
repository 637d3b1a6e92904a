"""The model card: its page is made of the numbers beside it, and the committed ones keep their promises."""

import json
from pathlib import Path

import numpy as np
import pytest
import transformers

from fedbbpt_backends import embedded
from fedbbpt_backends.torchvision_compat import ensure_importable
from fedbbpt_benchmarks.experiments.pretrain import card, score, student

NUMBERS = json.loads((embedded.FOLDER / "scores.json").read_text())


def test_the_committed_page_is_the_one_of_the_committed_numbers() -> None:
    assert (embedded.FOLDER / "README.md").read_text() == card.page(NUMBERS)


def test_the_weights_are_half_precision_and_small() -> None:
    assert (embedded.FOLDER / "model.safetensors").stat().st_size <= 30_000_000
    assert json.loads((embedded.FOLDER / "config.json").read_text())["dtype"] == "float16"


def test_transformers_alone_loads_model_and_preprocessing() -> None:
    ensure_importable()  # where torchvision does not fit to torch, transformers' models cannot even be imported
    net, report = transformers.ViTModel.from_pretrained(
        embedded.FOLDER, add_pooling_layer=False, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert 56 <= net.config.image_size <= 84
    pixels = json.loads((embedded.FOLDER / "preprocessor_config.json").read_text())
    assert pixels["size"] == {"height": net.config.image_size, "width": net.config.image_size}
    assert tuple(pixels["image_mean"]) == student.MEAN


def test_a_saved_student_is_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "BLOCKS", 1)
    net = student.untrained(0)
    student.save(net, tmp_path)
    again = student.load(tmp_path)
    for name, value in net.state_dict().items():
        np.testing.assert_allclose(again.state_dict()[name].numpy(), value.numpy(), atol=1e-3, err_msg=name)


class TestReadings:
    """On two clouds of points, easy and impossible to tell apart."""

    @pytest.fixture(params=[(8.0, 0.95, 1.0), (0.0, 0.3, 0.7)])
    def clouds(self, request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, float, float]:
        distance, least, most = request.param
        rng = np.random.default_rng(0)
        labels = np.arange(200) % 2
        points = rng.standard_normal((200, 6)) + distance * labels[:, None]
        return points.astype(np.float32), labels, least, most

    @pytest.mark.parametrize("reading", sorted(card.READINGS))
    def test_reading(self, reading: str, clouds: tuple[np.ndarray, np.ndarray, float, float]) -> None:
        x, y, least, most = clouds
        accuracy = card.READINGS[reading](x[:100], y[:100], x[100:], y[100:])
        assert least <= accuracy <= most

    def test_few_shots_draws_no_more_than_its_shots(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fitted: list[np.ndarray] = []
        monkeypatch.setattr(score, "class_means", lambda x, y, *_: fitted.append(y) or 0.5)
        y = np.repeat([0, 1, 2], [5, 20, 30])
        assert score.few_shots(np.zeros((55, 2)), y, np.zeros((1, 2)), np.zeros(1), shots=16, draws=3) == 0.5
        assert [np.bincount(labels).tolist() for labels in fitted] == 3 * [[5, 16, 16]]
