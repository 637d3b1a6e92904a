"""Readers of texts, on a few lines of ours in the archives' own formats."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator

import pytest

from fedbbpt_benchmarks import texts
from fedbbpt_benchmarks.texts import TextExample, big_bench, documents, evals, tables
from fedbbpt_benchmarks.texts.example import LONGEST, normalise, subsample


def example(text: str, label: str, *others: str, **more: object) -> dict[str, object]:
    return {"input": text, "target_scores": {label: 1} | dict.fromkeys(others, 0), **more}


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`holds(module, files)`: what the archives hold for a module's readers, by the end of the path."""

    def set_files(module: object, files: dict[str, bytes]) -> None:
        def members(name: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
            return ((path, contents) for path, contents in files.items() if wanted(path))

        for name, read in (("members", members), ("member", lambda name, path: files[path])):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, read)

    return set_files


def task(*examples: dict[str, object]) -> bytes:
    return json.dumps({"canary": "x", "examples": examples}).encode()


class TestSome:
    many = tuple(TextExample(f"{i}", "ab"[i % 3 == 0], f"text {i}", official=i % 2 == 1) for i in range(400))

    def test_at_most_so_many_of_a_side_in_their_order(self) -> None:
        chosen = list(subsample(self.many, 50))
        assert [text.for_test for text in chosen].count(True) == [text.for_test for text in chosen].count(False) == 50
        assert [int(text.key) for text in chosen] == sorted(int(text.key) for text in chosen)
        assert chosen == list(subsample(reversed(self.many), 50))[::-1]

    def test_and_of_a_class(self) -> None:
        chosen = list(subsample(self.many, 400, 10))
        assert len(chosen) == 40

    def test_few_are_all_kept(self) -> None:
        assert tuple(subsample(self.many, 400)) == self.many


def test_texts_are_kept_with_single_spaces_and_cut() -> None:
    assert normalise(" a\n\tb  c ") == "a b c"
    assert len(normalise("word " * LONGEST)) == LONGEST


class TestBigBench:
    def test_variants_share_their_key_and_frames_are_cut(self, holds: Callable[..., None]) -> None:
        premises = ["Sentence 1: A. \nSentence 2: B.", "Sentence 1: not A. \nSentence 2: B."]
        files = {
            "fact_checker/fever": [
                example("On June 2017, the following claim was made: Pigs fly.\nQ: Was this true?", "false", "true")
            ],
            "intent_recognition": [example("Utterance: Play jazz.", "play_music", "get_weather")],
            "presuppositions_as_nli": [
                example(f"{pair}\n\nThe answer is: ", "neutral", "entailment", comment={"example_id": "7"})
                for pair in premises
            ],
            "vitaminc_fact_verification": [
                example("Rome: founded.\nClaim: old.", "True", "False"),
                example("Rome: burnt.\nClaim: new.", "False", "True"),
            ],
        }
        holds(big_bench, {f"{big_bench.ROOT}/{name}/task.json": task(*examples) for name, examples in files.items()})
        (claim,) = texts.fever()
        assert (claim.text, claim.label) == ("Pigs fly.", "false")
        (wish,) = texts.intents()
        assert (wish.text, wish.label) == ("Play jazz.", "play_music")
        pairs = list(texts.presuppositions())
        assert len({pair.key for pair in pairs}) == 1
        assert pairs[1].text == "Sentence 1: not A. Sentence 2: B."
        passages = list(texts.vitaminc())
        assert len({passage.key for passage in passages}) == 1
        assert [passage.label for passage in passages] == ["True", "False"]

    def test_translations_share_their_key_and_tell_their_language(self, holds: Callable[..., None]) -> None:
        reviews = [("nice", "positive"), ("loud", "negative")]
        files = {
            f"{big_bench.ROOT}/multiemo/hotels_text_{language}/task.json": task(
                *(example(f"{text} {language}", label) for text, label in reviews)
            )
            for language in big_bench.LANGUAGES
        }
        holds(big_bench, files)
        found = list(texts.multiemo_languages())
        assert len(found) == 22
        assert len({text.key for text in found}) == 2
        assert {text.domain for text in found} == set(big_bench.LANGUAGES)
        assert [text.text for text in texts.multiemo("hotels")] == ["nice en", "loud en"]


class TestTables:
    def test_official_sides_and_hierarchy_of_newsgroups(self, holds: Callable[..., None]) -> None:
        table = "Category\tText\nd\tstring\nclass\t\n\nrec.autos\ta {0}  car\nsci.med\ta {0} pill\n"
        files = {f"20newsgroups-{side}.tab": table.format(side).encode() for side in ("train", "test")}
        holds(tables, {f"{tables.ORANGE}/{name}": contents for name, contents in files.items()})
        found = list(texts.newsgroups())
        assert [(text.text, text.for_test, text.domain) for text in found] == [
            ("a train car", False, "rec"),
            ("a train pill", False, "sci"),
            ("a test car", True, "rec"),
            ("a test pill", True, "sci"),
        ]
        assert len({text.key for text in found}) == 4

    def test_ratings_become_signs_and_zero_is_left_out(self, holds: Callable[..., None]) -> None:
        lines = "\ufeff1_1\t-0.9\tno\tpicture\n1_2\t0.0\tneither\n2_1\t2.5\tlovely\n".encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            info = tarfile.TarInfo("hutto_ICWSM_2014/amazon_GroundTruth.txt")
            info.size = len(lines)
            tar.addfile(info, io.BytesIO(lines))
        holds(tables, {tables.VADER: packed.getvalue()})
        found = [(text.key, text.label, text.text) for text in texts.rated_snippets("amazon")]
        assert found == [("amazon/1", "negative", "no picture"), ("amazon/2", "positive", "lovely")]


class TestEvals:
    def test_conversations_of_evals(self, holds: Callable[..., None]) -> None:
        question = (
            "I'm trying to cook. First, I stir. How will this change 'x'? Answer with 'more likely' or 'less likely'."
        )
        line = json.dumps(
            {"input": [{"role": "system"}, {"role": "user", "content": question}], "ideal": "more likely"}
        )
        holds(evals, {"evals/registry/data/crepe/samples.jsonl": f"{line}\n".encode()})
        (step,) = texts.crepe()
        assert step == TextExample("crepe/I'm trying to cook", "more likely", question.partition(" Answer")[0])


class TestDocuments:
    def test_mails_of_a_subject_share_their_key(self, holds: Callable[..., None]) -> None:
        html = "Subject: Re: WIN\nContent-Type: text/html\n\n<p>free <b>gold</b></p>"
        mails = {
            "easy-ham-1/1.json": "Subject: hello\n\nhow are   you",
            "spam-2/2.json": html,
            "spam-2/3.json": "Subject: win\n\nplain",
        }
        files = {f"package/data/{path}": json.dumps({"text": text}).encode() for path, text in mails.items()}
        holds(documents, files | {"package/data/easy-ham-1/1.txt": b"not read"})
        found = list(texts.spam())
        assert [(text.label, text.text) for text in found] == [
            ("ham", "hello how are you"),
            ("spam", "Re: WIN free gold"),
            ("spam", "win plain"),
        ]
        assert found[1].key == found[2].key != found[0].key

    def test_passages_of_five_sentences_without_tags(self, holds: Callable[..., None]) -> None:
        sentences = "\n\n".join(f"\t``/`` He/pps said/vbd {i}/cd ./." for i in range(11))
        holds(documents, {"package/cm01": sentences.encode(), "package/README": b"x"})
        found = list(texts.brown())
        assert len(found) == 2
        assert found[1].text == " ".join(f'" He said {i} .' for i in range(5, 10))
        assert {(text.key, text.label) for text in found} == {("brown/cm01", "science-fiction")}

    def test_supersenses_by_number(self, holds: Callable[..., None]) -> None:
        noun = "  1 the licence\n00000001 05 n 01 cat 0 000 | a small  animal\n"
        verb = "00000002 43 v 01 rain 0 000 | to fall as water\n"
        holds(documents, {"usr/share/wordnet/data.noun": noun.encode(), "usr/share/wordnet/data.verb": verb.encode()})
        found = [(text.label, text.text) for text in texts.supersenses()]
        assert found == [("noun.animal", "a small animal"), ("verb.weather", "to fall as water")]
