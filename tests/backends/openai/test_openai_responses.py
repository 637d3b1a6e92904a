"""Shapes of answers: what is there is used."""

import base64
import json

import numpy as np
import pytest

from fedbbpt_backends.openai_responses import (
    ApiAnswer,
    answers_of,
    embeddings_of,
    error_of,
    error_of_invalid,
    is_error,
    parse_body,
    to_number,
)

ENTRY = {"token": "Ġgood", "logprob": -0.5, "bytes": [32, 103, 111, 111, 100]}
TOP = {" good": -0.5, "bad": -2.0}


def one(**choice):
    (answer,) = answers_of({"choices": [choice]}, 1)
    return answer


def answer_with(content, **more):
    return one(message={"role": "assistant", "content": content}, **more)


class TestText:
    @pytest.mark.parametrize(
        "choice",
        [
            {"message": {"content": "good"}},
            {"message": {"content": "good"}, "finish_reason": None, "logprobs": None, "index": "0"},
            {"message": {"content": [{"type": "text", "text": "go"}, {"type": "text", "text": "od"}]}},
            {"message": {"content": ["good"]}},
            {"message": {"content": {"type": "text", "text": {"value": "good"}}}},
            {"message": "good"},
            {"text": "good"},
            {"text": "good", "message": {"content": None}},
            {"message": {"content": None, "reasoning_content": "good"}, "finish_reason": "stop"},
            {"message": {"content": "", "reasoning": "good"}},
            {"message": {"content": "good", "reasoning_content": "bad?"}, "finish_reason": "length", "index": 1},
        ],
    )
    def test_is_found(self, choice):
        assert one(**choice) == ApiAnswer("good", None)

    @pytest.mark.parametrize("content", [None, "", [], [None], 7, {"image": 1}])
    def test_may_be_missing(self, content):
        assert answer_with(content) == ApiAnswer("", None)

    def test_a_thought_that_was_cut_off_is_none(self):
        assert one(message={"content": None, "reasoning_content": "Is it good?"}, finish_reason="length").text == ""

    def test_what_the_service_would_not_say(self):
        assert answer_with("go", finish_reason="content_filter").text is None
        assert one(message={"content": None, "refusal": "I cannot."}).text is None


class TestLogProbabilities:
    @pytest.mark.parametrize(
        "logprobs",
        [
            {"content": [ENTRY | {"top_logprobs": [ENTRY, {"token": "bad", "logprob": "-2.0"}]}, {"token": "x"}]},
            [ENTRY | {"top_logprobs": [ENTRY, {"token": "bad", "logprob": -2, "bytes": None}]}],
            {"content": [{"token": "x", "top_logprobs": TOP}]},
            {"content": None, "top_logprobs": [TOP, {"x": -1.0}]},
            {"tokens": ["x"], "token_logprobs": [-9], "top_logprobs": [TOP]},
            {"top_logprobs": TOP},
            {"top_logprobs": {" good": {"logprob": -0.5}, "bad": {"logprob": -2.0}}},
        ],
    )
    def test_are_found(self, logprobs):
        assert answer_with("x", logprobs=logprobs).top == TOP

    @pytest.mark.parametrize(
        "logprobs",
        [
            {"content": [{"token": "bad", "logprob": -2.0, "top_logprobs": []}]},
            {"tokens": ["bad"], "token_logprobs": [-2.0], "top_logprobs": None},
        ],
    )
    def test_of_the_token_alone_are_better_than_none(self, logprobs):
        assert answer_with("bad", logprobs=logprobs).top == {"bad": -2.0}

    @pytest.mark.parametrize(
        "logprobs",
        [None, {}, [], "no", {"content": []}, {"content": [7]}, {"content": [{"token": "a", "logprob": None}]}]
        + [{"top_logprobs": [{"a": value}]} for value in (None, "x", float("inf"), float("nan"), -float("inf"), 0.7)]
        + [{"top_logprobs": [None]}, {"tokens": [], "token_logprobs": []}, {"tokens": "a"}],
    )
    def test_may_be_missing(self, logprobs):
        assert answer_with("a", logprobs=logprobs).top is None

    def test_what_several_entries_say_of_a_token_is_added_up_and_rounding_is_forgiven(self):
        entries = [{"token": "�", "logprob": -1.0, "bytes": [32, 97]}, {"token": " a", "logprob": -1.0}]
        assert answer_with("a", logprobs=[{"top_logprobs": entries}]).top == {" a": pytest.approx(-1 + np.log(2))}
        assert answer_with("a", logprobs=[{"token": "a", "logprob": 1e-6}]).top == {"a": 0.0}

    def test_half_a_character_stands_as_the_service_writes_it(self):
        entry = {"token": "\\xe2", "logprob": -1.0, "bytes": [226]}
        assert answer_with("a", logprobs=[entry]).top == {"\\xe2": -1.0}


class TestSeveral:
    def test_are_put_in_order(self):
        listed = [{"index": str(i), "text": f"{i}"} for i in (2, 0)]
        found = answers_of({"choices": [*listed, "no", {"index": 7, "text": "x"}]}, 3)
        assert [answer and answer.text for answer in found] == ["0", None, "2"]
        assert answers_of({"choices": None}, 2) == answers_of({}, 2) == [None, None]

    def test_vectors_are_too(self):
        packed = base64.b64encode(np.array([3, 4], "<f4").tobytes()).decode()
        rows = [{"index": 1, "embedding": packed}, {"index": 0, "embedding": [["1", 2]]}]
        assert [row.tolist() for row in embeddings_of({"data": rows}, 2)] == [[1, 2], [3, 4]]

    @pytest.mark.parametrize("indices", [(1, 2, 3), (0, 0, 0), (None, None, None), ("0", "1", "2"), (0, None, 2)])
    def test_are_told_apart_by_their_place_where_indices_do_not(self, indices):
        listed = [{"index": index, "text": f"{place}"} for place, index in enumerate(indices)]
        assert [answer.text for answer in answers_of({"choices": listed}, 3)] == ["0", "1", "2"]

    def test_which_are_missing_must_be_clear(self):
        with pytest.raises(ValueError, match="answers 2 of 3 inputs without saying which"):
            answers_of({"choices": [{"index": 0, "text": "a"}, {"index": 0, "text": "b"}]}, 3)

    def test_vectors_that_are_none_are_nan(self):
        rows = [{"embedding": [1, 2]}, {"embedding": []}, {"embedding": [None, 1]}, {"embedding": [1e39, 1]}]
        good, *others = embeddings_of({"data": rows}, 4)
        assert good.tolist() == [1, 2]
        assert all(np.isnan(one).any() for one in others)
        assert [np.isnan(one).any() for one in embeddings_of({"data": [{"index": 1, "embedding": [3]}]}, 2)] == [
            True,
            False,
        ]
        with pytest.raises(ValueError, match="it holds model, embeddings"):
            embeddings_of({"model": "m", "embeddings": [[1, 2]]}, 1)


class TestContents:
    @pytest.mark.parametrize("around", [("", ""), ("\ufeff", ""), (" \n", "\n"), ("", "\n\ndata: [DONE]"), ("[", "]")])
    def test_is_the_object_that_comes_first(self, around):
        assert parse_body((around[0] + '{"a": 1}' + around[1]).encode()) == {"a": 1}

    @pytest.mark.parametrize("body", [b"", b"7", b"[]", b"[1, 2]", b"<html>", b"[" * 10**5, b"data: {", b'"x"'])
    def test_may_be_none(self, body):
        with pytest.raises(ValueError, match=r"\S"):
            parse_body(body)

    def test_a_stream_is_put_together(self):
        def event(delta, **more):
            return {"choices": [{"index": 0, "delta": delta, **more}], "usage": None}

        events = [
            event({"role": "assistant"}),
            event({"content": "go"}, logprobs={"content": [{"token": "go", "logprob": -0.5}]}),
            event({"content": "od"}, logprobs={"content": [{"token": "od", "logprob": -0.1}]}),
            event({}, finish_reason="stop"),
            {"choices": [], "usage": {"prompt_tokens": 9}},
        ]
        lines = [f"data: {json.dumps(one)}\n\n" for one in events]
        answer = parse_body(("\ufeff: ping\n\nevent: message\n" + "".join(lines) + "data: [DONE]\n\n").encode())
        assert answers_of(answer, 1) == [ApiAnswer("good", {"go": -0.5})]
        assert answer["usage"] == {"prompt_tokens": 9}


class TestFailure:
    @pytest.mark.parametrize(
        ("answer", "words", "status"),
        [
            ({"error": {"message": "No endpoints", "code": 404}, "user_id": "u"}, "No endpoints", 404),
            ({"error": "loading", "choices": []}, "loading", None),
            ({"error": {"message": "m", "code": "429"}}, "m", 429),
            (
                {"choices": [{"error": {"message": "upstream", "code": 502}, "message": {"content": ""}}]},
                "upstream",
                502,
            ),
            ({"detail": "Not Found"}, "Not Found", None),
            ({"message": "no", "status": 400}, "no", 400),
            ({"object": "error", "message": "no", "code": 40301}, "no", None),
            ({}, "", None),
            ({"model": "m", "message": {"content": "good"}, "done": True}, "JSON with model, message, done", None),
        ],
    )
    def test_inside_of_a_success(self, answer, words, status):
        assert is_error(answer)
        assert error_of(answer).words == words
        assert error_of(answer).status == status

    def test_is_none_beside_an_answer(self):
        assert not is_error({"error": None, "choices": [{"text": "a"}]})
        assert not is_error({"error": "a warning", "choices": [{"text": "a"}]})
        assert not is_error({"choices": [], "usage": {}})

    def test_a_page_is_read_without_its_tags_and_broken_json_not_at_all(self):
        why = ValueError("it is nested too deeply")
        error = error_of_invalid(b"<html><script>var a</script><title>502</title>Bad\ngateway", why)
        assert error.words.split() == ["502", "Bad", "gateway"]
        assert len(error_of_invalid(b"<script" * 10**6, why).words) < 10**4
        assert error_of_invalid(b' {"a": [[[', why).words == "JSON that cannot be read: it is nested too deeply"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (1, 1),
        ("2", 2),
        (0.5, 0.5),
        (None, None),
        (True, None),
        ("x", None),
        (float("nan"), None),
        (10**400, None),
        ([], None),
    ],
)
def test_numbers(value, found):
    assert to_number(value) == found
