"""The local text model, on small encoders made here."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Dataset
from fedbbpt_backends import text_models
from fedbbpt_backends.hf_text import MAX_TOKENS, HfText, TextNetwork
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
import transformers  # noqa: E402

WORDS = ["good", "great", "fine", "fun", "bad", "poor", "dull", "sad", "film", "book", "the", "a", "was", "is"]
CLASSES = ("bad", "good")
SAVED = {
    "encoder": transformers.BertModel,
    "classifier": transformers.BertForSequenceClassification,
    "masked": transformers.BertForMaskedLM,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """`saved(kind)`: the folder of a small BERT of that kind, as a backend's model."""

    def save(kind: str) -> str:
        folder = tmp_path_factory.getbasetemp() / f"text-{kind}"
        if not folder.exists():
            folder.mkdir()
            (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
            transformers.BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
            torch.manual_seed(0)
            size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
            config = transformers.BertConfig(
                vocab_size=5 + len(WORDS), max_position_embeddings=32, id2label=dict(enumerate(CLASSES)), **size
            )
            SAVED[kind](config).save_pretrained(folder)
        return f"dir:{folder}"

    return save


def shots(size: object) -> Dataset:
    assert size is None
    texts = ["the film was bad", "a dull book", "the film was good", "a fun book"]
    return Dataset(as_texts(texts), np.array([0, 0, 1, 1]))


PROVIDER = Provider(CLASSES, shots=shots)
TEXTS = as_texts(["the film is great", "bad", "a sad sad sad book was the film", "fun fun"])


@pytest.mark.parametrize("kind", ["encoder", "masked"])
def test_features_are_the_mean_over_the_tokens(kind: str, saved: Callable[[str], str]) -> None:
    network = TextNetwork(saved(kind), "float32", "cpu", 32)
    features = network.features(TEXTS)
    assert features.shape == (4, 16)
    assert features.dtype == np.float32
    for text, feature in zip(TEXTS, features, strict=True):
        ids = torch.tensor([network.model.tokenizer(text)["input_ids"]])
        base = network.model.net.base_model
        expected = base(input_ids=ids).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(feature, expected.numpy(), atol=1e-5)


def test_an_encoder_answers_with_prototypes_of_the_providers_texts(saved: Callable[[str], str]) -> None:
    backend = HfText(PROVIDER, model=saved("encoder"), dtype="float32")
    assert backend.info.input_size is None
    assert backend.info.classes == CLASSES
    answers = backend.query(shots(None).inputs)
    assert answers.scores.argmax(1).tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(answers.scores, backend.query(shots(None).inputs).scores)


def test_a_classifier_answers_by_itself(saved: Callable[[str], str]) -> None:
    backend = HfText(PROVIDER, model=saved("classifier"), dtype="float32")
    assert backend.info.classes == CLASSES
    assert backend.query(TEXTS).scores.shape == (4, 2)


def test_tokens_are_counted_as_cut_and_without_padding(saved: Callable[[str], str]) -> None:
    whole, cut = (HfText(PROVIDER, model=saved("encoder"), max_tokens=n) for n in (32, 5))
    assert whole.query(TEXTS).tokens == (4 + 2) + (1 + 2) + (8 + 2) + (2 + 2)
    assert cut.query(TEXTS).tokens == 5 + 3 + 5 + 4


def test_long_and_many_texts_are_cut_into_pieces(saved: Callable[[str], str]) -> None:
    network = TextNetwork(saved("encoder"), "float32", "cpu", 10_000)
    many = as_texts(["film " * 40] * (MAX_TOKENS // 32 + 1) + ["bad"])
    features = network.features(many)  # 32 tokens each, as many as the model has positions
    np.testing.assert_allclose(features[0], features[-2], atol=1e-5)
    np.testing.assert_allclose(features[-1], network.features(as_texts(["bad"]))[0], atol=1e-5)


def test_an_asset_is_unpacked_once(
    saved: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, inner = Path(saved("encoder").partition(":")[2]), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as zipped:
        for file in folder.iterdir():
            zipped.write(file, f"minilm/{file.name}")
        zipped.writestr("../evil.json", "{}")
    reads = []
    members = lambda name, wanted: reads.append(name) or [("all_minilm_l6_v2/model.zip", inner.getvalue())]  # noqa: E731
    monkeypatch.setattr(text_models, "members", members)
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    for _ in range(2):
        assert text_models.load_text_model("minilm", "cpu").name == "minilm"
    assert reads == ["minilm"]
    (kept,) = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    assert {file.name for file in kept.iterdir()} <= set(text_models.WANTED)


class TestBad:
    def test_name(self) -> None:
        with pytest.raises(ConfigError, match="minilm, bert-tiny, smollm2, hf:ID or dir:PATH, got 'gpt'"):
            HfText(PROVIDER, model="gpt")

    def test_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match=r"no config\.json"):
            HfText(PROVIDER, model=f"dir:{tmp_path}")

    def test_missing_weights(self, saved: Callable[[str], str], tmp_path: Path) -> None:
        source = Path(saved("encoder").partition(":")[2])
        for file in source.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
        with pytest.raises(BackendError, match="lacks 16 of its weights"):
            HfText(PROVIDER, model=f"dir:{tmp_path}")

    def test_encoder_without_examples(self, saved: Callable[[str], str]) -> None:
        with pytest.raises(ConfigError, match="no examples to fit a head"):
            HfText(Provider(CLASSES), model=saved("encoder"))
