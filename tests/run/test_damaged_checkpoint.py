"""A damaged checkpoint is noticed, whatever the damage, and gives way to the one before."""

import json

import pytest

from fedbbpt.errors import RunError
from fedbbpt.run import checkpoint
from fedbbpt.run.checkpoint import load_last, save
from fedbbpt.run.records import to_record

ENDS = ("json", "safetensors")


@pytest.fixture
def record(checkpoints):
    """The JSON file of the checkpoint of round 2."""
    return checkpoints / "round-000002.json"


@pytest.fixture
def expect_fallback(checkpoints, progress, contents):
    """`expect_fallback(damaged)`: that the checkpoint of round 1 is loaded, and these newer ones are damaged."""

    def expect(damaged=("round-000002",)):
        found, passed_over = load_last(checkpoints)
        assert contents(found) == contents(progress(1))
        assert passed_over == list(damaged)

    return expect


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "foreign"])
def test_a_file_with_other_contents_is_damaged(checkpoints, expect_fallback, end, damage):
    file = checkpoints / f"round-000002.{end}"
    content = file.read_bytes()
    at = content.index(b'"arrays_sha256": "') + 20 if end == "json" else len(content) - 1
    flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    damaged = {"empty": b"", "half": content[: len(content) // 2], "flipped": flipped, "foreign": b"[1, 2]"}
    file.write_bytes(damaged[damage])
    expect_fallback()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("replace", [lambda path: path.mkdir(), lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_damaged(checkpoints, expect_fallback, end, replace):
    file = checkpoints / f"round-000002.{end}"
    file.unlink()
    replace(file)
    expect_fallback()


def test_a_record_without_its_arrays_is_damaged(checkpoints, expect_fallback):
    (checkpoints / "round-000002.safetensors").unlink()
    expect_fallback()


def test_arrays_without_their_record_do_not_count(record, expect_fallback):
    record.unlink()
    expect_fallback(damaged=())


def test_a_checkpoint_under_another_number_is_damaged(checkpoints, expect_fallback):
    for end in ENDS:
        (checkpoints / f"round-000002.{end}").rename(checkpoints / f"round-000007.{end}")
    expect_fallback(damaged=("round-000007",))


class TestRecord:
    @pytest.mark.parametrize("key", ["round", "best", "totals", "metrics_size", "config_sha256", "arrays_sha256"])
    def test_without_a_key_is_damaged(self, record, expect_fallback, key):
        record.write_text(record.read_text().replace(f'"{key}"', '"other"'))
        expect_fallback()

    @pytest.mark.parametrize(
        "change",
        [
            ('"queries": 20', '"queries": 21'),
            ('"round": 2', '"round": 3'),
            ('"start_loss": 0.4', '"start_loss": 0.0'),
            ('"loss": 0.3', '"loss": 0.4'),
            ('"metrics_size": 99', '"metrics_size": 98'),
            ('"data_sha256": "data"', '"data_sha256": "tada"'),
        ],
    )
    def test_with_another_value_is_damaged(self, record, expect_fallback, change):
        before = record.read_text()
        assert before.count(change[0]) == 1
        record.write_text(before.replace(*change))
        expect_fallback()

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("round", "2"),
            ("round", True),
            ("round", 2.0),
            ("metrics_size", None),
            ("metrics_size", -1),
            ("totals", []),
            ("totals/queries", "x"),
            ("totals/queries", float("nan")),
            ("best", None),
            ("best/loss", "a"),
            ("best/round", [[]]),
            ("arrays_sha256", 7),
        ],
    )
    def test_of_other_types_is_damaged_even_if_its_checksum_fits(self, record, expect_fallback, path, value):
        values = json.loads(record.read_bytes())
        del values["sha256"]
        *section, key = path.split("/")
        (values[section[0]] if section else values)[key] = value
        record.write_bytes(to_record(values))
        expect_fallback()

    @pytest.mark.parametrize("content", ["[" * 10**6, "1" * 10**5, '{"a":' * 10**5, "null", '"text"', "\ud800", "\x00"])
    def test_that_is_none_is_damaged(self, record, expect_fallback, content):
        record.write_bytes(content.encode("utf-8", "surrogatepass"))
        expect_fallback()


def test_a_checkpoint_that_lacks_another_file_is_passed_over(checkpoints, progress, contents):
    found, passed_over = load_last(checkpoints, lambda one: "metrics.jsonl" if one.state.round == 2 else "")
    assert contents(found) == contents(progress(1))
    assert passed_over == ["round-000002 (its metrics.jsonl has changed)"]


def test_a_run_that_goes_on_meanwhile_does_not_look_damaged(checkpoints, progress, contents, monkeypatch):
    """Both checkpoints give way to others after their names are read, and before their contents are."""
    real, looks = checkpoint._records, iter(range(100))

    def records(folder):
        found = real(folder)
        if next(looks) == 0:
            for round_ in (3, 4):
                save(checkpoints, progress(round_))
        return found

    monkeypatch.setattr(checkpoint, "_records", records)
    found, passed_over = load_last(checkpoints)
    assert contents(found) == contents(progress(4))
    assert passed_over == []


def test_without_an_intact_checkpoint_there_is_an_error(checkpoints):
    for file in checkpoints.glob("*.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(RunError, match=r"every checkpoint in .* is damaged .*round-000002, round-000001"):
        load_last(checkpoints)
