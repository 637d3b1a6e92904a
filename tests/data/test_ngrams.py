import json

import pytest

from fedbbpt.data.ngrams import NgramCounts, build_vocabulary, count_ngrams


def test_what_a_client_holds_once_stays_with_it():
    counts = count_ngrams(["my name is Anna Secret", "a film", "A FILM"])
    assert counts.ngrams == {"a": 2, "a film": 2, "film": 2}
    assert counts.total == 9
    assert b"secret" not in counts.to_bytes()


def test_what_it_repeats_does_not():
    assert "anna" in count_ngrams(["Anna came", "Anna left"]).ngrams


def test_words_pairs_and_triples_are_counted_but_not_across_a_pause():
    counts = count_ngrams(["New York city hall. New York, New York city"] * 2)
    assert counts.ngrams["new york"] == 6
    assert counts.ngrams["new york city"] == 4
    assert "hall new" not in counts.ngrams
    assert "york new" not in counts.ngrams
    assert max(len(ngram.split()) for ngram in counts.ngrams) == 3
    assert counts.total == 2 * 9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop-and-go", {"don't", "stop-and-go", "don't stop-and-go"}),
        ("«Größe» 42", {"größe", "42"}),
        ("a\n b\tc", {"a", "b", "c", "a b", "b c", "a b c"}),
        ("... !? --", set()),
        ("", set()),
    ],
)
def test_words_are_letters_and_digits_and_what_joins_them(text, words):
    assert set(count_ngrams([text, text]).ngrams) == words


def test_counts_survive_the_wire():
    counts = count_ngrams(["größe zählt", "größe zählt nicht"])
    assert NgramCounts.from_bytes(counts.to_bytes()) == counts
    assert json.loads(counts.to_bytes())[0] == 5


def test_the_most_frequent_of_all_clients_come_first_and_equals_by_name():
    sites = [NgramCounts(100, {"b": 2, "a": 3, "d": 4}), NgramCounts(100, {"b": 3, "c": 3})]
    assert build_vocabulary(sites, 10) == ["b", "d", "a", "c"]
    assert build_vocabulary(sites, 2) == ["b", "d"]
    assert build_vocabulary(sites[::-1], 10) == build_vocabulary(sites, 10)


def test_neighbours_that_stand_together_by_chance_are_not_joined():
    # log p(ab) / p(a) p(b): of "new york" log(100 · 4 / (4 · 5)) = 3.0, of "of the" log(100 · 4 / (20 · 18)) = 0.1.
    sites = [NgramCounts(100, {"new": 4, "york": 5, "new york": 4, "of": 20, "the": 18, "of the": 4})]
    assert build_vocabulary(sites, 10) == ["of", "the", "york", "new", "new york"]


def test_a_triple_is_joined_where_both_of_its_pairs_are():
    words = {"new": 4, "york": 4, "city": 5, "of": 40, "new york": 4, "york city": 4, "city of": 3}
    sites = [NgramCounts(100, words | {"new york city": 4, "york city of": 3})]
    assert set(build_vocabulary(sites, 10)) - {"new", "york", "city", "of"} == {
        "new york",
        "york city",
        "new york city",
    }


def test_nothing_told_is_no_word():
    assert build_vocabulary([], 5) == []
    assert build_vocabulary([count_ngrams([]), count_ngrams(["once only"])], 5) == []
