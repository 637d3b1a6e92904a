"""What a run has learned is written for others, and loaded by them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import fedbbpt
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import BackendError, ConfigError, RunError
from fedbbpt.run.records import to_record
from fedbbpt.tuned import canaries, exported
from fedbbpt.tuned import export as exporting
from fedbbpt.tuned.export import export
from tests.tuned_runs import Colours

pytestmark = pytest.mark.usefixtures("backends")


@pytest.fixture
def folder(image_run: Path, tmp_path: Path) -> Path:
    """An exported run on pictures."""
    export(image_run, tmp_path / "exported", license="cc-by-4.0")
    return tmp_path / "exported"


def test_an_exported_model_gives_the_bits_of_its_run(image_run: Path, folder: Path, pictures, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    ours, theirs = fedbbpt.load(image_run), fedbbpt.load(moved, check=False)
    assert theirs.classes == ours.classes
    assert (theirs.predict_proba(pictures[0]) == ours.predict_proba(pictures[0])).all()
    assert theirs.state.sha256 == fedbbpt.load(moved).state.sha256


def test_the_text_column_goes_along(text_run: Path, tmp_path: Path) -> None:
    export(text_run, tmp_path / "exported")
    model = fedbbpt.load(tmp_path / "exported")
    assert model.state.text_column == "review"
    assert model.predict("so dull") == "dull"
    assert model.queries == 8 + 1  # the canaries, and the text


def test_nothing_of_clients_or_of_this_machine_is_in_it(image_run: Path, folder: Path, pictures) -> None:
    written = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert set(written) == {"README.md", "config.json", "model.safetensors", "canaries.safetensors"}
    for content in written.values():
        assert str(image_run.parent).encode() not in content
        assert b"client-000" not in content
    pixels = np.asarray(pictures[0][0])[0, :4].tobytes()
    assert not any(pixels in content for content in written.values())
    arrays = safetensors.numpy.load(written["model.safetensors"])
    assert {"prompt", "readout"} <= set(arrays)


def test_the_card_says_what_it_is_in_numbers(image_run: Path, folder: Path) -> None:
    card, summary = (folder / "README.md").read_text(), fedbbpt.Run(image_run).summary
    front = card.split("---\n")[1]
    assert "license: cc-by-4.0" in front
    assert "pipeline_tag: image-classification" in front
    assert f"**{summary['test_accuracy']:.3f}** (95 % interval" in card
    assert f"{summary['queries']:,} queries in {summary['requests']:,} requests" in card
    assert "3 clients held 24 examples for training" in card
    assert "no privacy budget (ε) was accounted for" in card


def test_a_model_that_has_changed_is_noticed(folder: Path, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    assert canaries.check(fedbbpt.load(folder, check=False), (folder / exported.CANARIES).read_bytes()) == 0
    query = Colours.query
    monkeypatch.setattr(Colours, "query", lambda model, inputs: query(model, inputs[:, ::-1].copy()))  # blue for red
    with pytest.raises(BackendError, match=r"no longer answers as it did: on . of 8 test inputs"):
        fedbbpt.load(folder)
    assert fedbbpt.load(folder, check=False).predict(pictures[0][0])
    monkeypatch.setattr(Colours, "query", lambda model, inputs: query(model, inputs + np.float32(1e-4)))
    fedbbpt.load(folder)  # as numbers differ between processors


def test_canaries_are_the_same_everywhere() -> None:
    images = canaries.make_inputs((6, 9))
    assert images.shape == (8, 3, 6, 9)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 8
    assert (canaries.make_inputs((6, 9)) == images).all()
    assert len(set(canaries.make_inputs(None))) == 8


@pytest.mark.parametrize("name", ["model.safetensors", "canaries.safetensors", "README.md", "config.json"])
def test_what_has_changed_on_the_way_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-3] + b"xyz")
    with pytest.raises(RunError, match=f"{name} (has changed|is damaged)"):
        fedbbpt.load(folder)
    (folder / name).unlink()
    with pytest.raises(RunError):
        fedbbpt.load(folder)


def test_another_format_is_refused(folder: Path) -> None:
    config = exported.read_config(folder)
    newer = to_record(config.model_copy(update={"format": 9}).model_dump())
    (folder / "config.json").write_bytes(newer)
    with pytest.raises(RunError, match="was exported in format 9"):
        fedbbpt.load(folder)


def test_only_a_finished_run_goes_into_a_new_folder(image_run: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not empty"):
        export(image_run, folder)
    with pytest.raises(RunError, match="no run in"):
        export(tmp_path, tmp_path / "out")
    unfinished = shutil.copytree(image_run, tmp_path / "unfinished")
    (unfinished / "summary.json").unlink()
    with pytest.raises(RunError, match="has no summary yet"):
        export(unfinished, tmp_path / "out")
    with pytest.raises(ConfigError, match="a licence is written as on the hub"):
        export(image_run, tmp_path / "out", license="Do what you like!")
    assert not (tmp_path / "out").exists()


def test_examples_of_the_provider_are_handed_on_only_if_wanted(image_run: Path, tmp_path: Path, monkeypatch) -> None:
    read = exporting.read_tuned_run
    shots = safetensors.numpy.save({"shots/texts/inputs": np.zeros(3, np.uint8)})
    monkeypatch.setattr(exporting, "read_tuned_run", lambda run: replace(read(run), provided=shots))
    with pytest.raises(RunError, match="--with-examples"):
        export(image_run, tmp_path / "out")
    export(image_run, tmp_path / "out", with_examples=True)
    state = fedbbpt.load(tmp_path / "out").state
    assert set(safetensors.numpy.load(state.provided)) == {"shots/texts/inputs"}


class TestOptionsOfOneMachine:
    """What belongs to a machine is left out, and has to be given elsewhere."""

    def test_places_and_addresses_are_needed(self) -> None:
        options = {"model": "dir:/home/me/vit", "device": "cpu", "dtype": "float32", "classifier": "mnist"}
        kept, needs = exported.portable(ComponentConfig(name="local-vit", options=options), {"device": "cpu"})
        assert kept == {"name": "local-vit", "dtype": "float32", "classifier": "mnist"}
        assert needs == ["model"]
        options = {"model": "gpt", "base_url": "http://inside:1/v1", "key_file": None}
        kept, needs = exported.portable(ComponentConfig(name="openai", options=options), {})
        assert (kept, needs) == ({"name": "openai", "model": "gpt"}, ["base_url"])

    def test_relative_places_are_needed_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for place in ("nets/vit", "mnist"):
            (tmp_path / place).mkdir(parents=True)
        options = {"model": "nets/vit", "classifier": "mnist"}  # a name alone is a model's
        assert exported.portable(ComponentConfig(name="local-vit", options=options), {})[1] == ["model"]
        options = {"model": "dir:nets", "classifier": "org/name"}
        assert exported.portable(ComponentConfig(name="local-vit", options=options), {})[1] == ["model"]

    def test_they_are_asked_for(self, folder: Path, pictures) -> None:
        config = exported.read_config(folder).model_copy(update={"needs": ["strength"]})
        (folder / "config.json").write_bytes(to_record(config.model_dump()))
        with pytest.raises(ConfigError, match="add -o strength=VALUE, or options="):
            fedbbpt.load(folder)
        assert fedbbpt.load(folder, options={"strength": 4.0}).predict(pictures[0][0])

    def test_all_are_named_at_once(self, folder: Path) -> None:
        config = exported.read_config(folder).model_copy(update={"needs": ["strength", "model"]})
        (folder / "config.json").write_bytes(to_record(config.model_dump()))
        with pytest.raises(ConfigError, match="add -o model=VALUE, or") as one:
            fedbbpt.load(folder, options={"strength": 4.0})
        assert "strength" not in str(one.value)
        with pytest.raises(ConfigError, match="add -o strength=VALUE -o model=VALUE, or options="):
            fedbbpt.load(folder)


def test_an_exported_folder_is_no_run(folder: Path) -> None:
    assert exported.is_exported(folder)
    assert json.loads((folder / "config.json").read_text())["task"]["source"] is None
    with pytest.raises(RunError):
        fedbbpt.resume(folder)
