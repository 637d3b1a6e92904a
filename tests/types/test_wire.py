"""What peers send may be anything: it is read as it was written, or refused with one kind of error."""

import json
from contextlib import suppress

import numpy as np
import pytest

from fedbbpt.data.ngrams import NgramCounts
from fedbbpt.types import Message, Pair, Score, Statistics, Traffic, Update, Usage
from fedbbpt.types.wire import LONGEST_HEADER, packed

KINDS = (Message, Update, Statistics, Score, NgramCounts)
VALUES = np.arange(3, dtype=np.float32)
HONEST = {
    Message: Message(1, 7, {"prompt": VALUES}),
    Update: Update("c", {"prompt": VALUES}, 5, 0.5, Usage(3, 1, 9, 0, 1, 2), 0.1, Traffic(3, 4)),
    Statistics: Statistics(VALUES),
    Score: Score("c", np.eye(2, dtype=np.int64), 1.5, 1, Usage(3, 1), pairs={"baseline-1": Pair(1, 0)}),
    NgramCounts: NgramCounts(9, {"a": 4, "b": 3, "a b": 2}),
}
UPDATE = ["c", 5, 0.5, 0.1, 3, 1, 9, 0, 1]
SCORE = {"client": "c", "loss_sum": 1.5, "unanswered": 1, "usage": [3, 1, 0, 0, 0]}
CONFUSION = {"confusion": np.eye(2, dtype=np.int32)}


def _with_header(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def _with_scalars(scalars):
    return _with_header({"__metadata__": {"scalars": scalars}})


def _with_values(dtype, shape, size):
    values = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    return _with_header({"__metadata__": {"scalars": "{}"}, "values": values}) + bytes(min(size, 4))


def _refused(kind, data):
    with pytest.raises(ValueError, match=r"\w+ \w+") as refused:
        kind.from_bytes(data)
    assert type(refused.value) in (ValueError, json.JSONDecodeError, UnicodeDecodeError)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read(kind):
    data = HONEST[kind].to_bytes()
    assert kind.from_bytes(data).to_bytes() == data


NOTHING_OF_OURS = [
    b"",
    b"{}",
    b"\xff" * 8,
    (2**63).to_bytes(8, "little"),
    (LONGEST_HEADER + 1).to_bytes(8, "little") + bytes(100),
    _with_header(b""),
    _with_header(b"[" * 10**6),
    _with_header(b"\xff\xfe"),
    _with_header({}),
    _with_header([]),
    _with_header({"__metadata__": {}}),
    _with_header({"__metadata__": {"scalars": {}}}),
    _with_scalars("[]"),
    _with_scalars("5"),
    _with_scalars("[" * 10**5),
    _with_scalars("1" * 10**5),
    _with_scalars('{"update": 5, "round": 5}'),
    _with_header(
        {"__metadata__": {"scalars": "{}"}, "values": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 0]}}
    ),
    _with_header(
        {"__metadata__": {"scalars": "{}"}, "values": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}
    ),
    b"null",
    b"[5, " + b"[" * 10**6,
    b"[" + b"9" * 10**5 + b", {}]",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", NOTHING_OF_OURS, ids=range(len(NOTHING_OF_OURS)))
def test_what_nobody_writes_is_refused(kind, data):
    _refused(kind, data)


@pytest.mark.parametrize("kind", KINDS)
def test_any_byte_may_be_wrong(kind):
    honest, rng = HONEST[kind].to_bytes(), np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(honest)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        for sent in (bytes(data), honest[: rng.integers(0, len(honest))]):
            with suppress(ValueError):
                assert isinstance(kind.from_bytes(sent), kind)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 5),
        (0, ""),
        (0, "c" * 256),
        (0, "c\nd"),
        (0, "\x1b[31m"),
        (1, -5),
        (1, "5"),
        (1, 5.5),
        (1, True),
        (1, 2**64),
        (2, "x"),
        (2, None),
        (2, 10**400),
        (3, -0.1),
        (4, -9),
        (5, 1.5),
        (8, float("nan")),
    ],
)
def test_numbers_of_an_update_are_of_their_kind_and_range(place, value):
    sent = [*UPDATE[:place], value, *UPDATE[place + 1 :]]
    _refused(Update, packed({}, update=sent))
    assert Update.from_bytes(packed({}, update=UPDATE)).weight == 5


@pytest.mark.parametrize("sent", [UPDATE[:-1], [*UPDATE, 0, 0], {}, "update"])
def test_an_update_is_of_its_length(sent):
    _refused(Update, packed({}, update=sent))


def test_other_scalars_and_types_are_refused():
    _refused(Update, packed({}, update=UPDATE, more=1))
    _refused(Update, packed({}, update=UPDATE, traffic=[1]))
    _refused(Update, packed({}, update=UPDATE, traffic=[1, -1]))
    _refused(Update, packed({"prompt": np.zeros(3, np.int64)}, update=UPDATE))
    _refused(Message, packed({"prompt": VALUES}, round=-1, seed=0))
    _refused(Message, packed({"prompt": VALUES}, round=1, seed="0"))
    _refused(Message, packed({"prompt": np.zeros(3, np.int64)}, round=1, seed=0))
    _refused(Statistics, packed({"values": VALUES}, more=1))
    _refused(Statistics, packed({"values": VALUES.astype(np.float64)}))
    _refused(Statistics, packed({"values": VALUES[None]}))
    _refused(Statistics, packed({"values": VALUES, "more": VALUES}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"confusion": -np.eye(2, dtype=np.int32)},
        {"confusion": np.eye(2, dtype=np.int64)},
        {"confusion": np.zeros((2, 3), np.int32)},
        {"confusion": np.zeros(4, np.int32)},
    ],
)
def test_confusions_are_squares_of_counts(wrong):
    _refused(Score, packed(wrong, **SCORE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"client": None},
        {"loss_sum": "x"},
        {"loss_sum": float("nan")},
        {"unanswered": -1},
        {"usage": [0] * 4},
        {"pairs": [1]},
        {"pairs": {"baseline-1": [1]}},
        {"pairs": {"baseline-1": [1, -1]}},
        {"pairs": {"": [1, 1]}},
        {"x": 1},
    ],
)
def test_scores_are_of_their_kind_and_range(wrong):
    assert Score.from_bytes(packed(CONFUSION, **SCORE)).unanswered == 1
    _refused(Score, packed(CONFUSION, **SCORE | wrong))


@pytest.mark.parametrize(
    "sent",
    [
        b'["x", {}]',
        b'["x", 5]',
        b"[5]",
        b"[-1, {}]",
        b'[10, {"a": -3}]',
        b'[10, {"a": 0}]',
        b'[10, {"a": 2.5}]',
        b'[10, {"a": true}]',
        b'[10, ["a"]]',
        b'[10, {"a": 3, "a b": 2}]',
        b'[10, {"a": 3, "b": 1, "a b": 2}]',
        b'[10, {"a": 6, "b": 6}]',
        b'[99, {"a": 9, "a a a a": 2}]',
        b'[10, {"": 3}]',
        b'[10, {"a": 3, "a  a": 2}]',
    ],
)
def test_counts_are_those_that_texts_can_have(sent):
    _refused(NgramCounts, sent)
