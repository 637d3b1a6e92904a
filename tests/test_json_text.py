"""JSON from elsewhere."""

import pytest

from fedbbpt.json_text import parse, parse_strictly


@pytest.mark.parametrize(
    "content",
    ['{"a": [1]}', b'\xef\xbb\xbf{"a": [1]}', '\ufeff\n{"a": [1]}\n', '{"a": [1]}'.encode("utf-16")],
)
def test_a_mark_of_byte_order_does_not_matter(content):
    assert parse(content) == {"a": [1]}


@pytest.mark.parametrize("more", [False, True])
def test_a_string_may_hold_what_it_should_not(more):
    assert parse(b'{"a": "Zo\xeb\n\t\x01"}', more=more) == {"a": "Zo\ufffd\n\t\x01"}


def test_what_stands_behind_it_may_be_passed_over():
    assert parse(' {"a": 1}\n{"b": 2} and more', more=True) == {"a": 1}
    with pytest.raises(ValueError, match="Extra data"):
        parse('{"a": 1} and more')


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xff", "[" * 10**5, '{"a":' * 10**5, "9" * 5000, b'{"a": "'])
@pytest.mark.parametrize("more", [False, True])
def test_all_that_cannot_be_read_is_one_kind_of_error(content, more):
    with pytest.raises(ValueError, match=r"\S") as e:
        parse(content, more=more)
    assert not isinstance(e.value, RecursionError)
    assert len(str(e.value)) < 300


def test_a_file_is_read_strictly() -> None:
    assert parse_strictly('{"a": [1, 2.5, null, "süß \\ud83d\\ude42"]}'.encode()) == {"a": [1, 2.5, None, "süß 🙂"]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 10**6, "recursion limit"),
        (b'{"a":' * 300, "recursion limit"),
        (b"9" * 5000, "number out of range"),
        (rb'"\ud83d"', "hex escape"),
        (b'"\xff"', "unicode"),
        (b'{"a": 1, "a": 2}', 'duplicate key "a"'),
        (b"", "EOF"),
        (b"{} {}", "trailing"),
    ],
)
def test_files_that_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_strictly(data)
