"""The local text model, on small encoders made here."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Dataset
from fedbbpt_backends import text_models
from fedbbpt_backends.hf_text import AT_ONCE, HfText, TextNetwork
from fedbbpt_backends.torchvision_mend import mend

mend()
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
    many = as_texts(["film " * 40] * (AT_ONCE // 32 + 1) + ["bad"])
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


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
VISION = SMALL | {"image_size": 16, "patch_size": 8}
VOCABULARY = {"vocab_size": 5 + len(WORDS)}
Other = Callable[..., str]


@pytest.fixture
def other(saved: Callable[[str], str], tmp_path: Path) -> Other:
    """`other(model, **config)`: a model with the tokenizer of the others, its config changed."""

    def save(model: Any, **changes: Any) -> str:
        source = Path(saved("encoder").partition(":")[2])
        for file in source.glob("*token*"):
            shutil.copy(file, tmp_path)
        model.save_pretrained(tmp_path)
        config = tmp_path / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | changes))
        return f"dir:{tmp_path}"

    return save


def classifier(labels: int = 2) -> Any:
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL, **VOCABULARY, num_labels=labels))


class TestClasses:
    def test_placeholders_stay(self, other: Other) -> None:
        assert HfText(PROVIDER, model=other(classifier())).info.classes == ("LABEL_0", "LABEL_1")

    def test_a_name_that_stands_twice_gets_its_number(self, other: Other) -> None:
        name = other(classifier(), id2label={"1": "bad", "0": "bad"}, label2id=None)
        assert HfText(PROVIDER, model=name).info.classes == ("bad (0)", "bad (1)")

    def test_a_label_without_a_name_is_a_placeholder(self, other: Other) -> None:
        name = other(classifier(), id2label={"0": None, "1": "good"}, label2id=None)
        assert HfText(PROVIDER, model=name).info.classes == ("LABEL_0", "good")

    @pytest.mark.parametrize("labels", [{"bad": 0, "good": 1}, ["bad", "good"]])
    def test_labels_that_are_no_numbers(self, labels: object, other: Other) -> None:
        with pytest.raises(BackendError, match="has to name the outputs by their numbers"):
            HfText(PROVIDER, model=other(classifier(), id2label=labels, label2id=None))

    def test_labels_that_begin_with_1(self, other: Other) -> None:
        name = other(classifier(), id2label={"1": "bad", "2": "good"}, label2id=None)
        with pytest.raises(
            BackendError, match="names the outputs 1, 2, but a model with 2 of them has those from 0 to 1"
        ):
            HfText(PROVIDER, model=name)

    def test_a_single_output_is_no_class_score(self, other: Other) -> None:
        backend = HfText(PROVIDER, model=other(classifier(1)), dtype="float32")
        assert backend.info.classes == CLASSES  # of the provider's examples
        assert backend.query(shots(None).inputs).scores.argmax(1).tolist() == [0, 0, 1, 1]


def test_a_text_without_a_token_is_padding() -> None:
    ids, mask = text_models.padded([[], [5, 6]], 3)
    assert ids.tolist() == [[3, 3], [5, 6]]
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_a_model_without_a_limit_is_read_up_to_ours(other: Other) -> None:
    size = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}
    name = other(transformers.XLNetModel(transformers.XLNetConfig(**size, **VOCABULARY)))
    assert HfText(PROVIDER, model=name).query(TEXTS).scores.shape == (4, 2)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Mamba", {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}),  # without attention
        ("Bloom", {"hidden_size": 16, "n_layer": 1, "n_head": 2}),  # by distance
        ("Cohere", SMALL | {"num_key_value_heads": 2}),  # whose scores are scaled
        ("GPT2", {"n_embd": 16, "n_layer": 1, "n_head": 2}),  # side by side
    ],
)
def test_every_model_that_writes_on_says_how_likely_words_are(
    kind: str, settings: dict[str, Any], other: Other
) -> None:
    torch.manual_seed(0)
    ends = {"bos_token_id": 2, "eos_token_id": 2}
    config = getattr(transformers, f"{kind}Config")(**settings, **VOCABULARY, **ends)
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model = getattr(transformers, f"{kind}{head}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    words = ("a good film", "bad", "sad book")
    backend = HfText(Provider(("x", "y", "z"), words=words), model=other(model), dtype="float32")
    scores = backend.query(TEXTS).scores
    for text, row in zip(TEXTS, scores, strict=True):
        context = backend.verbalizer.context(text)
        read = [*context.before, *context.text, *context.after]
        for ids, score in zip(backend.verbalizer.words, row, strict=True):
            with torch.inference_mode():
                likely = model(input_ids=torch.tensor([[*read, *ids]])).logits[0].log_softmax(-1)
            expected = sum(likely[len(read) - 1 + i, token].item() for i, token in enumerate(ids))
            assert score == pytest.approx(expected, abs=1e-3)


def test_a_classifier_that_writes_on_finds_where_a_short_text_ends(other: Other) -> None:
    torch.manual_seed(0)
    size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "num_labels": 2, "pad_token_id": None}
    name = other(transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**size, **VOCABULARY)))
    backend = HfText(PROVIDER, model=name, dtype="float32")
    alone = np.concatenate([backend.query(TEXTS[i : i + 1]).scores for i in range(len(TEXTS))])
    np.testing.assert_allclose(backend.query(TEXTS).scores, alone, atol=1e-5)


class TestBad:
    @pytest.mark.parametrize(
        ("kind", "settings", "says"),
        [
            ("ViT", VISION, "type vit, which reads no texts"),
            ("CLIP", {"vision_config": VISION, "text_config": SMALL | VOCABULARY}, "not answer to texts alone"),
            (
                "T5",
                {"d_model": 16, "d_ff": 16, "num_layers": 1, "num_heads": 2} | VOCABULARY,
                "not answer to texts alone",
            ),
        ],
    )
    def test_a_model_that_reads_something_else(
        self, kind: str, settings: dict[str, Any], says: str, other: Other
    ) -> None:
        config = getattr(transformers, f"{kind}Config")(**settings)
        with pytest.raises(BackendError, match=says):
            HfText(PROVIDER, model=other(getattr(transformers, f"{kind}Model")(config)))

    def test_a_model_that_draws(self, other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
        name = other(classifier())
        monkeypatch.setattr(transformers.PreTrainedModel, "eval", lambda self: self.train())
        with pytest.raises(BackendError, match="the same question differently each time"):
            HfText(PROVIDER, model=name)

    def test_no_tokenizer(self, tmp_path: Path) -> None:
        classifier().save_pretrained(tmp_path)
        with pytest.raises(BackendError, match=r"has no tokenizer|cannot load"):  # by what transformers makes of it
            HfText(PROVIDER, model=f"dir:{tmp_path}")

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
