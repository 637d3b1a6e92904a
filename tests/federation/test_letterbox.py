"""A site's letters and its neighbours': when they are taken, and how many are kept."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.federation import letterbox
from fedbbpt.federation.letterbox import Letterbox
from fedbbpt.types import OutOfDate, Update, Usage

FORM = Update("", {"prompt": np.zeros(3, np.float32)}, 1, 0.0, Usage())


def box() -> tuple[Letterbox, list[tuple[str, bytes]]]:
    sent: list[tuple[str, bytes]] = []
    return Letterbox("a", lambda site, letter: sent.append((site, letter))), sent


def test_a_letter_may_come_before_it_is_asked_for() -> None:
    (ours, _), (theirs, sent) = box(), box()
    letter = replace(FORM, client="b", payload={"prompt": np.array([1, 2, 3], np.float32)})
    theirs.exchange("one", letter, ["a"], [], FORM)
    assert ours.hear("b", sent[0][1]) == ""
    letters, received = ours.exchange("one", OutOfDate("a"), [], ["b"], FORM)
    assert letters["b"].payload["prompt"].tolist() == [1, 2, 3]
    assert received.missing == {}
    assert received.traffic.down == len(letter.to_bytes())


def test_a_site_without_a_letter_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letterbox, "TIMEOUT", 30.0)
    (ours, _), (theirs, sent) = box(), box()
    theirs.exchange("one", OutOfDate("b"), ["a"], [], FORM)
    ours.hear("b", sent[0][1])
    assert ours.exchange("one", OutOfDate("a"), [], ["b"], FORM)[1].missing == {"b": "lacks what the message builds on"}


def test_no_more_is_kept_than_two_letters_of_a_neighbour() -> None:
    ours, _ = box()
    theirs, sent = box()
    for i in range(50):
        theirs.exchange(f"exchange {i}", replace(FORM, client="b"), ["a"], [], FORM)
    for _, letter in sent:
        assert ours.hear("b", letter) == ""
    assert len(ours._letters["b"]) == letterbox.OPEN


def test_a_letter_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letterbox, "TIMEOUT", 30.0)
    (ours, _), (theirs, sent) = box(), box()
    theirs.exchange("one", replace(FORM, client="b"), ["a"], [], FORM)
    timer = threading.Timer(0.2, ours.hear, ("b", sent[0][1]))
    timer.start()
    letters, _ = ours.exchange("one", OutOfDate("a"), [], ["b"], FORM)
    timer.join()
    assert letters.keys() == {"b"}
