"""Replies that no engine would let through, as the check of replies sees them."""

from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.algorithms.reply_checks import letter_problem, usable
from fedbbpt.errors import BackendError
from fedbbpt.types import Message, Update, Usage

GOOD = Update("a", {"losses": np.zeros(3, np.float32)}, 2, 0.5, Usage())
TEMPLATE = Update("", {"losses": np.full(3, np.nan, np.float32)}, 0, float("nan"), Usage())
MESSAGE = Message(1, 5, {})
WRONG = {
    "text": replace(GOOD, client="b", payload={"losses": "text"}),
    "nothing": None,
    "a number of samples that is none": replace(GOOD, client="b", weight=2.5),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_reply_is_left_out(wrong):
    unusable = {}
    assert usable({"a": GOOD, "b": wrong}, TEMPLATE, MESSAGE, unusable) == [GOOD]
    assert unusable.keys() == {"b"}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_if_nobody_replies_the_clients_are_named(wrong):
    with pytest.raises(BackendError, match=r"no client of round 1 .*\(b "):
        usable({"b": wrong}, TEMPLATE, MESSAGE, {})


def test_who_was_left_out_once_is_left_out_for_the_round():
    unusable = {"a": "sent no Update"}
    other = replace(GOOD, client="b")
    assert usable({"a": GOOD, "b": other}, TEMPLATE, MESSAGE, unusable) == [other]


def test_where_the_template_has_no_bytes_there_may_be_any_number():
    template = replace(TEMPLATE, payload={"content": np.zeros(0, np.uint8)})
    for content, fits in (
        (np.full(9, 255, np.uint8), True),
        (np.zeros(0, np.uint8), True),
        (np.zeros((3, 3), np.uint8), False),
        (np.zeros(9, np.float32), False),
    ):
        letter = replace(GOOD, payload={"content": content})
        assert (letter_problem(letter, template, "a", replace(letter, payload={"content": content[:1]})) == "") == fits
        assert bool(_problems(letter, template)) != fits


def _problems(reply, template):
    unusable = {}
    usable({"a": reply, "b": replace(template, client="b", weight=1)}, template, MESSAGE, unusable)
    return unusable
