"""Words as classes, on small language models made here: what is computed side by side equals one label at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.types import Prompted
from fedbbpt_backends import answer_parsing, causal
from fedbbpt_backends.answer_parsing import parse_answers
from fedbbpt_backends.hf_text import HfText
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
import transformers  # noqa: E402

WORDS = [
    "good",
    "bad",
    "very",
    "film",
    "book",
    "the",
    "a",
    "was",
    "is",
    "so",
    "not",
    "read",
    "this",
    "what",
    ":",
    ".",
    ",",
    "Sentiment",
    "Topic",
    "of",
    "sort",
    "it",
    "carefully",
]
PROVIDER = Provider(("pos", "neg", "mid"), question="Sentiment", label_words=("good", "very bad", "not so good"))
TEXTS = ["the film was good", "bad", "a book , very very bad .", "the the the film is not a book"]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`--assets`: also with the real model, fetched on first use."""
    if "real" in metafunc.fixturenames:
        models = {"small": False} | ({"smollm2": True} if metafunc.config.getoption("--assets") else {})
        metafunc.parametrize("real", models.values(), ids=models.keys())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """`saved(kind)`: a small language model, "causal" or "masked", as a backend's model."""

    def save(kind: str) -> str:
        folder = tmp_path_factory.getbasetemp() / f"language-{kind}"
        if not folder.exists():
            folder.mkdir()
            torch.manual_seed(1)
            vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
            if kind == "masked":
                (folder / "vocab.txt").write_text("\n".join(word.lower() for word in vocabulary[5:]))
                lower = [*vocabulary[:5], *(word.lower() for word in WORDS)]
                (folder / "vocab.txt").write_text("\n".join(lower))
                transformers.BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
                config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=48, **SIZE)
                transformers.BertForMaskedLM(config).save_pretrained(folder)
            else:
                tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, "[UNK]"))
                tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
                fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
                fast.save_pretrained(folder)
                config = transformers.LlamaConfig(
                    vocab_size=len(vocabulary), num_key_value_heads=2, max_position_embeddings=48, **SIZE
                )
                transformers.LlamaForCausalLM(config).save_pretrained(folder)
        return f"dir:{folder}"

    return save


def opened(model: str, **options: object) -> HfText:
    return HfText(PROVIDER, model=model, classifier="verbalizer", dtype="float32", **options)


def one_at_a_time(backend: HfText, context: str, prefix: np.ndarray | None = None) -> list[float]:
    """log p of each class's words behind the context, a forward pass of its own for each."""
    model = backend.network.model
    scores = []
    for words in PROVIDER.label_words:
        before, after = (model.tokenizer(text)["input_ids"] for text in (context, words))
        vectors = model.net.get_input_embeddings()(torch.tensor([*before, *after]))
        if prefix is not None:
            vectors = torch.cat([torch.from_numpy(prefix), vectors])
        with torch.no_grad():
            log_p = model.net(inputs_embeds=vectors[None]).logits[0].log_softmax(-1)
        start = len(vectors) - len(after)
        scores.append(sum(log_p[start + j - 1, token].item() for j, token in enumerate(after)))
    return scores


class TestCausal:
    def test_all_words_of_all_contexts_at_once_equal_one_at_a_time(self, saved: Callable[[str], str]) -> None:
        backend = opened(saved("causal"), template="{text} {question} :")
        scores, tokens, *_ = backend.query(as_texts(TEXTS))
        expected = [one_at_a_time(backend, f"{text} Sentiment :") for text in TEXTS]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert tokens == sum(len(text.split()) + 2 for text in TEXTS)
        assert backend.info.classes == PROVIDER.classes

    def test_the_same_holds_for_the_default_template_and_real_models(
        self, saved: Callable[[str], str], real: bool
    ) -> None:
        backend = opened("smollm2" if real else saved("causal"))
        net, verbalizer = backend.network.model.net, backend.verbalizer
        prompted = [Prompted(text, "read this : ") for text in TEXTS]
        scores = backend.query(as_texts(prompted)).scores
        for text, row in zip(prompted, scores, strict=True):
            context = verbalizer.context(text)
            before = [*context.prefix, *context.text, *context.suffix]
            for word, score in zip(verbalizer.label_ids, row, strict=True):
                with torch.no_grad():
                    log_p = net(input_ids=torch.tensor([[*before, *word]])).logits[0].log_softmax(-1)
                expected = sum(log_p[len(before) + j - 1, token].item() for j, token in enumerate(word))
                assert score == pytest.approx(expected, abs=1e-5, rel=1e-5)

    @pytest.mark.parametrize("min_saved", [1, 10_000])
    def test_a_prompt_that_is_read_once_for_all_changes_nothing(
        self, saved: Callable[[str], str], min_saved: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(causal, "MIN_SAVED_TOKENS", min_saved)
        backend = opened(saved("causal"), template="{text} {question} :")
        parts = [("read this : ", ""), ("", " what is it"), ("read this : ", " so"), ("sort it carefully ", "")]
        prompted = [Prompted(text, before, after) for before, after in parts for text in TEXTS]
        scores = backend.query(as_texts(prompted)).scores
        np.testing.assert_allclose(
            scores, [one_at_a_time(backend, f"{one} Sentiment :") for one in prompted], atol=1e-5
        )

    @pytest.mark.parametrize("min_saved", [1, 10_000])
    def test_vectors_stand_before_all(
        self, saved: Callable[[str], str], min_saved: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(causal, "MIN_SAVED_TOKENS", min_saved)
        backend = opened(saved("causal"), template="{text} {question} :")
        assert backend.info.embeddings.width == 32
        vectors = np.random.default_rng(0).normal(0, 0.1, (2, 3, 32)).astype(np.float32)
        prompted = [Prompted(text, soft_prompt=prefix) for prefix in vectors for text in TEXTS]
        scores = backend.query(as_texts(prompted)).scores
        expected = [one_at_a_time(backend, f"{one.text} Sentiment :", one.soft_prompt) for one in prompted]
        np.testing.assert_allclose(scores, expected, atol=1e-5)

    def test_a_long_text_is_cut_and_the_template_is_not(self, saved: Callable[[str], str]) -> None:
        backend = opened(saved("causal"), template="{text} {question} :", max_tokens=5)
        long = backend.query(as_texts(["the film was so bad " * 9])).scores
        np.testing.assert_allclose(long[0], one_at_a_time(backend, "the film was so bad Sentiment :"), atol=1e-5)
        backend = opened(saved("causal"), template="{text} {question} :", max_tokens=500)
        room = 48 - 2 - 3  # positions, the template's, the longest words'
        scores, tokens, *_ = backend.query(as_texts(["film " * 100]))
        assert tokens == room + 2
        np.testing.assert_allclose(scores[0], one_at_a_time(backend, "film " * room + "Sentiment :"), atol=1e-5)

    def test_small_pieces_give_the_same(self, saved: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
        backend = opened(saved("causal"))
        whole = backend.query(as_texts(TEXTS)).scores
        monkeypatch.setattr(causal, "MAX_TOKENS", 12)
        np.testing.assert_allclose(backend.query(as_texts(TEXTS)).scores, whole, atol=1e-5)

    def test_a_model_that_writes_on_is_read_by_its_words_unless_told_otherwise(
        self, saved: Callable[[str], str]
    ) -> None:
        assert HfText(PROVIDER, model=saved("causal"), dtype="float32").info.embeddings is not None


class TestMasked:
    def test_all_words_equal_one_at_a_time(self, saved: Callable[[str], str]) -> None:
        backend = opened(saved("masked"), template="{text} {question} : {mask} .")
        scores = backend.query(as_texts(TEXTS)).scores
        model = backend.network.model
        for text, row in zip(TEXTS, scores, strict=True):
            for words, score in zip(PROVIDER.label_words, row, strict=True):
                ids = model.tokenizer(words, add_special_tokens=False)["input_ids"]
                filled = model.tokenizer(f"{text} sentiment : {'[MASK] ' * len(ids)}.", return_tensors="pt")
                with torch.no_grad():
                    log_p = model.net(input_ids=filled["input_ids"]).logits[0].log_softmax(-1)
                places = (filled["input_ids"][0] == model.tokenizer.mask_token_id).nonzero()[:, 0]
                expected = sum(log_p[place, token].item() for place, token in zip(places, ids, strict=True))
                assert score == pytest.approx(expected, abs=1e-5)

    def test_a_masked_model_is_an_encoder_unless_told_otherwise(self, saved: Callable[[str], str]) -> None:
        with pytest.raises(ConfigError, match="no examples to fit"):
            HfText(PROVIDER, model=saved("masked"), dtype="float32")

    def test_vectors_stand_behind_the_mark_of_the_beginning(self, saved: Callable[[str], str]) -> None:
        backend = opened(saved("masked"))
        vectors = np.random.default_rng(0).normal(0, 1, (3, 32)).astype(np.float32)
        one, other = backend.query(as_texts([Prompted(TEXTS[0], soft_prompt=vectors), TEXTS[0]])).scores
        assert not np.allclose(one, other, atol=1e-4)


class TestGenerated:
    """The words that a model writes, one text at a time by hand."""

    def written(self, backend: HfText, context: str, count: int, prefix: np.ndarray | None = None) -> str:
        model = backend.network.model
        ids = model.tokenizer(context)["input_ids"]
        for _ in range(count):
            vectors = model.net.get_input_embeddings()(torch.tensor(ids))
            if prefix is not None:
                vectors = torch.cat([torch.from_numpy(prefix), vectors])
            with torch.no_grad():
                ids.append(int(model.net(inputs_embeds=vectors[None]).logits[0, -1].argmax()))
        return model.tokenizer.decode(ids[-count:])

    def test_the_class_is_what_is_written(self, saved: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[list[str]] = []
        monkeypatch.setattr(answer_parsing, "parse_answers", lambda *a: told.append(a) or parse_answers(*a))
        backend = HfText(
            PROVIDER, model=saved("causal"), classifier="generated", dtype="float32", template="{text} {question} :"
        )
        prefix = np.random.default_rng(0).normal(0, 1, (2, 32)).astype(np.float32)
        texts = [*TEXTS, Prompted(TEXTS[0], soft_prompt=prefix)]
        answers = backend.query(as_texts(texts))
        count = 4 + 3  # MORE, the longest words
        expected = [self.written(backend, f"{text} Sentiment :", count) for text in TEXTS]
        expected.append(self.written(backend, f"{TEXTS[0]} Sentiment :", count, prefix))
        assert told[-1][0] == expected
        named = [answer_parsing.match_label(text, PROVIDER.label_words) for text in expected]
        assert answers.unparsed == named.count(None)
        assert backend.info.scores == "log-probabilities"
        assert answers.tokens == sum(len(text.split()) + 2 for text in TEXTS) + len(TEXTS[0].split()) + 4 + 5 * count
        assert answers.output_tokens == 5 * count

    def test_it_is_told_what_it_may_answer(self, saved: Callable[[str], str]) -> None:
        backend = HfText(PROVIDER, model=saved("causal"), classifier="generated", dtype="float32")
        asked = backend.network.model.tokenizer("Is the Sentiment good, very bad or not so good?")["input_ids"]
        after = backend.verbalizer.context("film").suffix
        assert any(list(after[i : i + len(asked)]) == asked for i in range(len(after)))

    def test_a_masked_model_does_not_write(self, saved: Callable[[str], str]) -> None:
        with pytest.raises(ConfigError, match="is not a causal language model"):
            HfText(PROVIDER, model=saved("masked"), classifier="generated", dtype="float32")


class TestExamples:
    """Texts with their answers before the text, each as the text itself is asked about."""

    EXAMPLES = (("the book was good", "good"), ("bad film", "very bad"))

    def read(self, backend: HfText, text: str) -> str:
        context = backend.verbalizer.context(text)
        return backend.network.model.tokenizer.decode([*context.prefix, *context.text, *context.suffix])

    def test_causal(self, saved: Callable[[str], str]) -> None:
        backend = opened(saved("causal"), template="{text} {question} :")
        one = Prompted("so so", "read this : ", " carefully", examples=self.EXAMPLES)
        shown = [
            "read this : the book was good carefully Sentiment : good",
            "read this : bad film carefully Sentiment : very bad",
            "read this : so so carefully Sentiment :",
        ]
        assert self.read(backend, one) == " ".join(shown)
        assert backend.query(as_texts([one])).scores[0] == pytest.approx(
            one_at_a_time(backend, " ".join(shown)), abs=1e-5
        )

    def test_masked(self, saved: Callable[[str], str]) -> None:
        backend = opened(saved("masked"), template="{text} : {mask} .")
        one = Prompted("so so", examples=self.EXAMPLES)
        shown = "the book was good : good. bad film : very bad. so so : [MASK]."
        assert self.read(backend, one) == f"[CLS] {shown} [SEP]"

    def test_they_are_never_cut(self, saved: Callable[[str], str]) -> None:
        backend = opened(saved("causal"), template="{text} :", max_tokens=1)
        one = Prompted("so so", examples=self.EXAMPLES)
        assert self.read(backend, one) == "the book was good : good bad film : very bad so :"


class TestWhole:
    """Prompt and text as one string, as a service reads them."""

    def test_the_scores_are_those_of_the_string(self, saved: Callable[[str], str]) -> None:
        one = Prompted("so so", "read this : ", " carefully", examples=(("bad film", "bad"),))
        asked = opened(saved("causal"), template="{text} {question} :", single_string=True)
        plain = opened(saved("causal"), template="{text}")
        string = "read this : bad film carefully Sentiment : bad\n\nread this : so so carefully Sentiment :"
        np.testing.assert_array_equal(
            asked.query(as_texts([one, "bad"])).scores, plain.query(as_texts([string, "bad Sentiment :"])).scores
        )

    def test_a_masked_model_has_no_use_for_it(self, saved: Callable[[str], str]) -> None:
        with pytest.raises(ConfigError, match="for causal language models"):
            opened(saved("masked"), single_string=True)


class TestBad:
    @pytest.mark.parametrize("words", [["good"], ["good", "good", "bad"], ["good", "", "bad"]])
    def test_words(self, saved: Callable[[str], str], words: list[str]) -> None:
        with pytest.raises(ConfigError, match="3 different words, one for each of pos, neg, mid"):
            opened(saved("causal"), label_words=words)

    def test_template(self, saved: Callable[[str], str]) -> None:
        with pytest.raises(ConfigError, match=r"\{text\} where the text goes, got 'Sentiment:'"):
            opened(saved("causal"), template="Sentiment:")

    def test_a_template_without_a_verbalizer(self, saved: Callable[[str], str]) -> None:
        with pytest.raises(ConfigError, match=r"use -o backend.classifier=verbalizer"):
            HfText(PROVIDER, model=saved("masked"), classifier="prototypes", template="{text}", dtype="float32")

    def test_a_prompt_longer_than_the_model_reads(self, saved: Callable[[str], str]) -> None:
        with pytest.raises(ConfigError, match="the model reads 48"):
            opened(saved("causal")).query(as_texts([Prompted("film", prefix="the " * 50)]))


def test_a_gguf_file_is_kept_in_hugging_faces_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is ours: the weights and the config are written so that they load as any folder does."""
    from fedbbpt_backends import gguf

    config = transformers.LlamaConfig(
        vocab_size=8, num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=True, **SIZE
    )
    model = transformers.LlamaForCausalLM(config)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS[:8])}, "good"))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: model)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: fast)
    gguf.convert(tmp_path / "model.gguf", tmp_path)
    monkeypatch.undo()
    loaded, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    for name, weight in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name].float(), weight, atol=1e-3)
