"""The files beside an image model's weights, in the shapes that they have in the wild."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedbbpt.errors import BackendError
from fedbbpt_backends.image_sizes import height_width, processed_size
from fedbbpt_backends.preprocessing import Preprocessing, preprocessing_of
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
import transformers as t  # noqa: E402

Save, Load = Callable[..., str], Callable[[str], Any]

VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 8}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
NAMES = {"0": "cat", "1": "dog", "2": "eel"}


@pytest.fixture
def vit(save_image_model: Callable[..., str]) -> Callable[..., str]:
    """`vit(processor, size, channels, **config)`: a tiny classifier in a folder, its config changed."""

    def save(processor: dict[str, Any] | None = HALF, size: Any = 16, channels: int = 3, **config: Any) -> str:
        torch.manual_seed(0)
        names = {int(number): name for number, name in NAMES.items()}
        settings = t.ViTConfig(**VIT, image_size=size, num_channels=channels, id2label=names)
        return save_image_model(t.ViTForImageClassification(settings), processor, **config)

    return save


class TestSizes:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            (224, (224, 224)),
            ([192], (192, 192)),
            ([192, 256], (192, 256)),
            ((16, 8), (16, 8)),
            ({"height": 192, "width": 256}, (192, 256)),
            ({"shortest_edge": 224}, (224, 224)),
            ({"shortest_edge": 448, "longest_edge": 1333}, (448, 448)),
            ({"longest_edge": 512}, None),
            ({"min_pixels": 10, "max_pixels": 20}, None),
            ([3, 4, 5], None),
            (None, None),
            (0, None),
            ("224", None),
        ],
    )
    def test_ways_to_write_one(self, written: object, meant: object) -> None:
        assert height_width(written) == meant

    def test_a_crop_comes_after_resizing(self) -> None:
        settings = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
        assert processed_size(settings) == (224, 224)
        assert processed_size(settings | {"do_center_crop": False}) == (256, 256)
        assert processed_size({"size": 64, "do_resize": False}) is None

    def test_lists_in_the_config(self, vit: Save, network: Load) -> None:
        assert network(vit(image_size=[16, 16], patch_size=[8, 8])).model.size == (16, 16)

    def test_pictures_that_are_not_square(self, vit: Save, network: Load) -> None:
        loaded = network(vit(size=(32, 16)))
        assert loaded.model.size == (32, 16)
        assert loaded.logits(np.zeros((2, 3, 32, 16), np.float32)).shape == (2, 3)

    def test_a_processors_size_that_the_model_refuses_gives_way_to_the_configs(self, vit: Save, network: Load) -> None:
        assert network(vit(HALF | {"size": 64})).model.size == (16, 16)

    def test_a_processors_size_comes_first_where_a_model_takes_any(self, tmp_path: Path, network: Load) -> None:
        model = t.Dinov2Model(t.Dinov2Config(**VIT, image_size=32))
        model.save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(HALF | {"size": 32, "crop_size": 16}))
        assert network(f"dir:{tmp_path}").model.size == (16, 16)


class TestPreprocessing:
    def test_as_most_are(self) -> None:
        settings = {"rescale_factor": 1 / 255, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}
        assert preprocessing_of("m", settings, 3) == Preprocessing((0.1, 0.2, 0.3), (1, 2, 3), "RGB")

    def test_without_normalisation(self) -> None:
        plain = Preprocessing((0.0,) * 3, (1.0,) * 3, "RGB")
        off = {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        assert preprocessing_of("m", off, 3) == plain
        assert preprocessing_of("m", {}, 3) == plain

    def test_without_rescaling_values_are_up_to_255(self) -> None:
        assert preprocessing_of("m", {"do_rescale": False}, 3).std == (1 / 255,) * 3
        scaled = preprocessing_of("m", {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3}, 3)
        assert scaled == Preprocessing((0.5,) * 3, (0.5,) * 3, "RGB")

    def test_one_number_for_all_channels(self) -> None:
        half = Preprocessing((0.5,) * 3, (0.5,) * 3, "RGB")
        assert preprocessing_of("m", {"image_mean": 0.5, "image_std": [0.5]}, 3) == half

    def test_blue_first(self) -> None:
        assert preprocessing_of("m", {"do_flip_channel_order": True}, 3).channel_order == "BGR"

    def test_efficientnets_offset_and_second_division(self) -> None:
        settings = {"rescale_factor": 1 / 127.5, "rescale_offset": True, "image_mean": 0.0, "image_std": 0.5}
        offset = preprocessing_of("m", settings, 3)
        np.testing.assert_allclose([offset.mean[0], offset.std[0]], [0.5, 0.25])
        np.testing.assert_allclose(preprocessing_of("m", settings | {"include_top": True}, 3).std[0], 0.125)

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"image_mean": [0.1, 0.2], "image_std": [1, 1]}, "normalises 2"),
            ({"do_normalize": True, "image_std": [1, 1, 1]}, "must be numbers, got None"),
            ({"image_mean": "half", "image_std": [1, 1, 1]}, "must be numbers, got 'half'"),
            ({"image_mean": [0, 0, 0], "image_std": [1, 0, 1]}, "must be positive"),
        ],
    )
    def test_what_does_not_go_with_the_model(self, settings: dict[str, Any], says: str) -> None:
        with pytest.raises(BackendError, match=says):
            preprocessing_of("m", settings, 3)

    def test_grey_models_read_grey(self, vit: Save, network: Load) -> None:
        loaded = network(vit({"image_mean": [0.5], "image_std": [0.5]}, channels=1))
        x = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
        grey = (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]
        np.testing.assert_allclose(loaded.preprocess(x).numpy(), (grey - 0.5) / 0.5, atol=1e-6)
        assert loaded.logits(x).shape == (2, 3)

    def test_values_that_are_not_written_are_the_familys(self, tmp_path: Path, network: Load) -> None:
        model = t.MobileNetV2Model(t.MobileNetV2Config(depth_multiplier=0.25, image_size=32))
        model.save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text("{}")
        assert network(f"dir:{tmp_path}").model.preprocessing == Preprocessing((0.5,) * 3, (0.5,) * 3, "RGB")

    def test_a_kind_of_processor_that_nobody_knows_is_read_as_it_is_written(self, vit: Save, network: Load) -> None:
        loaded = network(vit(HALF | {"image_processor_type": "MyOwnProcessor"}))
        assert loaded.model.preprocessing == Preprocessing((0.5,) * 3, (0.5,) * 3, "RGB")


class TestClasses:
    @pytest.mark.parametrize(
        ("labels", "says"),
        [
            (
                {"1": "cat", "2": "dog", "3": "eel"},
                "names the outputs 1, 2, 3, but the 3 outputs are numbered from 0",
            ),
            ({"0": "cat", "1": "dog", "7": "eel"}, "names the outputs 0, 1, 7"),
            ({"0": "cat", "one": "dog", "2": "eel"}, "must name the outputs by number"),
            ({"0": "cat", "1": "dog"}, "2 of its weights do not match its config, among them classifier.bias"),
        ],
    )
    def test_labels_that_do_not_go_with_the_outputs(
        self, labels: dict[str, str], says: str, vit: Save, network: Load
    ) -> None:
        with pytest.raises(BackendError, match=says):
            network(vit(id2label=labels, label2id=None))

    def test_a_name_that_stands_twice_gets_its_number(self, vit: Save, network: Load) -> None:
        loaded = network(vit(id2label={"0": "crane", "2": "crane", "1": "eel"}, label2id=None))
        assert loaded.model.classes == ("crane (0)", "eel", "crane (2)")

    def test_a_single_output_is_no_class_score(self, tmp_path: Path, network: Load) -> None:
        t.ViTForImageClassification(t.ViTConfig(**VIT, image_size=16, num_labels=1)).save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(HALF))
        loaded = network(f"dir:{tmp_path}")
        assert loaded.model.logits is None
        assert loaded.features(np.zeros((2, 3, 16, 16), np.float32)).shape == (2, 16)


class TestFiles:
    def test_weights_as_pytorch_saves_them(self, tmp_path: Path, vit: Save, network: Load) -> None:
        network(vit())
        model = t.ViTForImageClassification.from_pretrained(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        assert network(f"dir:{tmp_path}").model.classes == ("cat", "dog", "eel")

    def test_no_weights(self, tmp_path: Path, vit: Save, network: Load) -> None:
        name = vit()
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(BackendError, match=r"cannot load .*no file named") as caught:
            network(name)
        assert "Without a hub" not in str(caught.value)

    def test_no_word_on_how_pictures_become_numbers(self, vit: Save, network: Load) -> None:
        with pytest.raises(BackendError, match=r"no preprocessor_config\.json"):
            network(vit(None))

    def test_a_processor_that_is_saved_with_others(self, tmp_path: Path, vit: Save, network: Load) -> None:
        inner = HALF | {"image_processor_type": "ViTImageProcessor"}
        name = vit(None)
        (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
        assert network(name).model.preprocessing == Preprocessing((0.5,) * 3, (0.5,) * 3, "RGB")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{", "is not JSON"),
            ("[]", "no model_type"),
            ("{}", "no model_type"),
            ('{"model_type": "moon"}', "cannot load"),
        ],
    )
    def test_a_config_that_describes_no_model(self, text: str, says: str, tmp_path: Path, network: Load) -> None:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(BackendError, match=says) as caught:
            network(f"dir:{tmp_path}")
        assert len(str(caught.value)) < 500

    def test_damaged_processor(self, tmp_path: Path, vit: Save, network: Load) -> None:
        name = vit()
        for text in ("{", "[1]"):
            (tmp_path / "preprocessor_config.json").write_text(text)
            with pytest.raises(BackendError, match=r"preprocessor_config\.json"):
                network(name)

    def test_code_beside_a_model_is_not_run(self, tmp_path: Path, network: Load) -> None:
        (tmp_path / "ours.py").write_text("raise SystemExit('run')")
        config = {"model_type": "ours", "auto_map": {"AutoConfig": "ours.Config"}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(BackendError, match="cannot load"):
            network(f"dir:{tmp_path}")

    def test_weights_of_another_size_are_named(self, vit: Save, network: Load) -> None:
        with pytest.raises(BackendError, match="23 of its weights do not match its config") as caught:
            network(vit(hidden_size=32, intermediate_size=64))
        assert "report" not in str(caught.value)
