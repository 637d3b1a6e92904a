"""A tuned model asked from Python."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fedbbpt
from fedbbpt.errors import BackendError, BudgetError, ConfigError, DataError, RunError, UnknownName

pytestmark = pytest.mark.usefixtures("backends")

BLACK = Image.new("RGB", (9, 9))


def test_one_input_has_one_answer_and_several_have_a_list(image_run: Path, pictures) -> None:
    images, labels = pictures
    model = fedbbpt.load(image_run)
    assert model.classes == ("blue", "green", "red")
    assert model.predict(images[0]) == labels[0]
    assert np.mean([a == b for a, b in zip(model.predict(images), labels, strict=True)]) > 0.9
    proba = model.predict_proba(images[:20])
    assert proba.shape == (20, 3)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    assert model.predict_proba(images[0]).shape == (3,)
    assert model.queries == 1 + 90 + 20 + 1
    assert repr(model) == "<TunedModel colours:data: 3 classes, 112 queries so far>"


def test_pictures_arrays_and_paths_are_read_alike(image_run: Path, pictures, tmp_path: Path) -> None:
    image = pictures[0][1]
    image.save(tmp_path / "one.png")
    pixels = np.asarray(image)
    ways = [image, pixels, tmp_path / "one.png", str(tmp_path / "one.png"), pixels / 255]
    model = fedbbpt.load(image_run)
    answers = [model.predict_proba([way]) for way in ways]
    assert all((answer == answers[0]).all() for answer in answers)
    assert (model.predict_proba(np.stack([pixels, pixels])) == model.predict_proba([image, image])).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (3, "expected a PIL image"),
        ([3], "input 0 must be a PIL image"),
        ([np.zeros((3, 8, 8), np.uint8)], r"input 0 must be an array \(h, w\)"),
        ([np.full((8, 8, 3), 3.0)], r"input 0 must hold uint8, or floats from 0 .* to 1"),
        ([BLACK, "gone.png"], "no file gone.png"),
    ],
)
def test_what_is_no_picture_is_refused(image_run: Path, wrong, says: str) -> None:
    with pytest.raises(DataError, match=says):
        fedbbpt.load(image_run).predict(wrong)


def test_texts_are_strings_or_files(text_run: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("what a fine tale")
    model = fedbbpt.load(text_run)
    assert model.predict("such a dull evening") == "dull"
    assert model.predict(["dull, dull", tmp_path / "one.txt"]) == ["dull", "fine"]
    for wrong, says in ((" ", "input 0 holds no text"), ([BLACK], "input 0 must be a string")):
        with pytest.raises(DataError, match=says):
            model.predict(wrong)


def test_an_input_without_an_answer_is_told_from_the_others(image_run: Path, pictures) -> None:
    model = fedbbpt.load(image_run, options={"strength": 5.0})
    inputs = [BLACK, pictures[0][2]]
    proba = model.predict_proba(inputs)
    if np.isnan(proba[0]).any():  # a prompt may have made it less black
        assert model.predict(inputs)[0] is None
        with pytest.raises(BackendError, match="did not answer 1 of 2 inputs"):
            model.check_answered(proba)
    assert not np.isnan(proba[1]).any()


def test_limits_are_kept_before_the_model_is_asked(image_run: Path, pictures) -> None:
    model = fedbbpt.load(image_run, max_queries=5)
    model.predict(pictures[0][:4])
    with pytest.raises(BudgetError, match="max_queries=5"):
        model.predict(pictures[0][:2])
    assert model.queries == 4
    with pytest.raises(UnknownName, match="limit 'max_querys'"):
        fedbbpt.load(image_run, max_querys=5)
    with pytest.raises(ConfigError, match="max_queries"):
        fedbbpt.load(image_run, max_queries=0)


def test_a_pickled_model_gives_the_same_bits(image_run: Path, pictures) -> None:
    model = fedbbpt.load(image_run)
    again = pickle.loads(pickle.dumps(model))
    assert again.queries == 0
    assert (again.predict_proba(pictures[0][:5]) == model.predict_proba(pictures[0][:5])).all()
    assert again.state.sha256 == model.state.sha256


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder"):
        fedbbpt.load(tmp_path / "gone")
    with pytest.raises(RunError, match="no run in"):
        fedbbpt.load(tmp_path)


def test_the_untuned_model_and_the_prompted_inputs_can_be_seen(image_run: Path, pictures) -> None:
    model = fedbbpt.load(image_run)
    inputs = np.stack([np.asarray(one.resize((8, 8))).transpose(2, 0, 1) for one in pictures[0][:2]])
    floats = inputs.astype(np.float32) / np.float32(255)
    assert model.backend.untuned(floats).scores.shape == (2, 3)
    assert model.backend.prompted(floats).shape == (2, model.backend.num_prompts, 3, 8, 8)
    assert model.backend.query(floats).tokens == 2 * model.backend.num_prompts
