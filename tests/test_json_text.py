"""JSON from elsewhere."""

import pytest

from fedbbpt.json_text import parsed


@pytest.mark.parametrize(
    "content",
    ['{"a": [1]}', b'\xef\xbb\xbf{"a": [1]}', '\ufeff\n{"a": [1]}\n', '{"a": [1]}'.encode("utf-16")],
)
def test_a_mark_of_byte_order_does_not_matter(content):
    assert parsed(content) == {"a": [1]}


def test_what_stands_behind_it_may_be_passed_over():
    assert parsed(' {"a": 1}\n{"b": 2} and more', more=True) == {"a": 1}
    with pytest.raises(ValueError, match="Extra data"):
        parsed('{"a": 1} and more')


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xff", "[" * 10**5, '{"a":' * 10**5, "9" * 5000, b'{"a": "'])
@pytest.mark.parametrize("more", [False, True])
def test_all_that_cannot_be_read_is_one_kind_of_error(content, more):
    with pytest.raises(ValueError, match=r"\S") as e:
        parsed(content, more=more)
    assert not isinstance(e.value, RecursionError)
    assert len(str(e.value)) < 300
