"""Text models of many families, in small: what each is read by, and which cannot be read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError
from fedbbpt.types import Dataset
from fedbbpt_backends import text_models
from fedbbpt_backends.hf_text import HfText
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
import transformers  # noqa: E402

WORDS = ["good", "great", "fine", "fun", "bad", "poor", "dull", "sad", "film", "book", "the", "a", "was", "is"]
CLASSES = ("bad", "good")


def shots(size: object) -> Dataset:
    assert size is None
    texts = ["the film was bad", "a dull book", "the film was good", "a fun book"]
    return Dataset(as_texts(texts), np.array([0, 0, 1, 1]))


PROVIDER = Provider(CLASSES, shots=shots)
TEXTS = as_texts(["the film is great", "bad", "a sad sad sad book was the film", "fun fun"])


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
VISION = SMALL | {"image_size": 16, "patch_size": 8}
VOCABULARY = {"vocab_size": 5 + len(WORDS)}
Other = Callable[..., str]


@pytest.fixture
def other(tmp_path: Path) -> Other:
    """`other(model, **config)`: a model with a tokenizer of a few words, its config changed."""

    def save(model: Any, **changes: Any) -> str:
        (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
        transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
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
        with pytest.raises(BackendError, match="must name the outputs by number"):
            HfText(PROVIDER, model=other(classifier(), id2label=labels, label2id=None))

    def test_labels_that_begin_with_1(self, other: Other) -> None:
        name = other(classifier(), id2label={"1": "bad", "2": "good"}, label2id=None)
        with pytest.raises(BackendError, match="names the outputs 1, 2, but the 2 outputs are numbered from 0 to 1"):
            HfText(PROVIDER, model=name)

    def test_a_single_output_is_no_class_score(self, other: Other) -> None:
        backend = HfText(PROVIDER, model=other(classifier(1)), dtype="float32")
        assert backend.info.classes == CLASSES  # of the provider's examples
        assert backend.query(shots(None).inputs).scores.argmax(1).tolist() == [0, 0, 1, 1]


def test_a_text_without_a_token_is_padding() -> None:
    ids, mask = text_models.pad_batch([[], [5, 6]], 3)
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
    backend = HfText(Provider(("x", "y", "z"), label_words=words), model=other(model), dtype="float32")
    scores = backend.query(TEXTS).scores
    for text, row in zip(TEXTS, scores, strict=True):
        context = backend.verbalizer.context(text)
        read = [*context.prefix, *context.text, *context.suffix]
        for ids, score in zip(backend.verbalizer.label_ids, row, strict=True):
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
            ("CLIP", {"vision_config": VISION, "text_config": SMALL | VOCABULARY}, "cannot be run on texts alone"),
            (
                "T5",
                {"d_model": 16, "d_ff": 16, "num_layers": 1, "num_heads": 2} | VOCABULARY,
                "cannot be run on texts alone",
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
        with pytest.raises(BackendError, match="another output each time for the same input"):
            HfText(PROVIDER, model=name)

    def test_no_tokenizer(self, tmp_path: Path) -> None:
        classifier().save_pretrained(tmp_path)
        with pytest.raises(BackendError, match=r"has no tokenizer|cannot load"):  # by what transformers makes of it
            HfText(PROVIDER, model=f"dir:{tmp_path}")
