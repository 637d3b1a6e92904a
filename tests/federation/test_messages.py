"""Requests and responses are read as they were written; any other bytes are a `ValueError`."""

from contextlib import suppress
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbbpt.federation.messages import MAX_REASON, Request, RequestKind, Response
from fedbbpt.types import Message
from fedbbpt.types.wire import packed

REQUEST = Request("call", {"handler": "train", "algorithm": "tuned"}, b"\x00\xff message")
RESPONSE = Response("ok", {"reply": "Update", "rounds": [1, 2], "note": None}, bytes(range(256)))
CONTENT = {"content": np.zeros(3, np.uint8)}
UNHURRIED = settings(deadline=None, database=None, derandomize=True)  # a busy machine is no failure
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("kind", get_args(RequestKind))
def test_every_kind_of_request_is_read_as_written(kind):
    request = Request(kind, {"round": 12}, b"content")
    assert Request.from_bytes(request.to_bytes()) == request


@UNHURRIED
@given(st.dictionaries(st.text(), JSON), st.binary())
def test_fields_and_content_are_read_as_written(fields, content):
    assert Request.from_bytes(Request("open", fields, content).to_bytes()) == Request("open", fields, content)
    assert Response.from_bytes(Response("ok", fields, content).to_bytes()) == Response("ok", fields, content)


@pytest.mark.parametrize("kind", ["busy", "refused", "dropped"])
def test_what_was_not_done_has_a_reason(kind):
    response = Response.from_bytes(Response.without_result(kind, "that is why").to_bytes())
    assert (response.kind, response.reason) == (kind, "that is why")
    assert Response().reason == ""
    for fields in ({}, {"reason": 5}, {"reason": "x" * (MAX_REASON + 1)}, {"reason": "x", "more": 1}):
        with pytest.raises(ValueError, match="reason"):
            Response.from_bytes(Response(kind, fields).to_bytes())


def test_a_long_reason_is_cut_so_that_it_can_be_read():
    assert len(Response.from_bytes(Response.without_result("refused", "x" * 10**6).to_bytes()).reason) == MAX_REASON


@UNHURRIED
@given(st.binary())
def test_arbitrary_bytes_raise_value_errors_only(data):
    for kind in (Request, Response):
        with pytest.raises(ValueError, match=r"\w+ \w+"):
            kind.from_bytes(data)


@UNHURRIED
@given(st.data())
def test_any_bytes_of_a_message_may_be_wrong(data):
    for honest in (REQUEST, RESPONSE):
        sent = bytearray(honest.to_bytes())
        for place in data.draw(st.lists(st.integers(0, len(sent) - 1), min_size=1, max_size=4)):
            sent[place] = data.draw(st.integers(0, 255))
        for received in (bytes(sent), honest.to_bytes()[: data.draw(st.integers(0, len(sent) - 1))]):
            with suppress(ValueError):
                assert isinstance(type(honest).from_bytes(received), type(honest))


@pytest.mark.parametrize(
    ("arrays", "scalars"),
    [
        (CONTENT, {"request": "shell", "fields": {}}),
        (CONTENT, {"request": ["call"], "fields": {}}),
        (CONTENT, {"request": "call", "fields": []}),
        (CONTENT, {"request": "call"}),
        (CONTENT, {"request": "call", "fields": {}, "more": 1}),
        ({}, {"request": "call", "fields": {}}),
        (CONTENT | {"more": np.zeros(1, np.uint8)}, {"request": "call", "fields": {}}),
        ({"content": np.zeros(3, np.float32)}, {"request": "call", "fields": {}}),
        ({"content": np.zeros((1, 3), np.uint8)}, {"request": "call", "fields": {}}),
    ],
)
def test_what_no_server_sends_is_refused(arrays, scalars):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        Request.from_bytes(packed(arrays, **scalars))


def test_one_kind_of_message_is_not_read_as_another():
    for kind, data in ((Request, RESPONSE), (Response, REQUEST), (Message, REQUEST)):
        with pytest.raises(ValueError, match=r"\w+ \w+"):
            kind.from_bytes(data.to_bytes())


def test_content_carries_a_message_bit_for_bit():
    message = Message(3, 7, {"prompt": np.arange(5, dtype=np.float32)}, "validation")
    sent = Request("call", {"handler": "evaluate"}, message.to_bytes())
    received = Message.from_bytes(Request.from_bytes(sent.to_bytes()).content)
    assert received.to_bytes() == message.to_bytes()
    assert received.parameters["prompt"].flags.writeable is message.parameters["prompt"].flags.writeable
