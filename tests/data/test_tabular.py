"""Tables of texts: what is read, who sees what, and what is said of bad ones."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from fedbbpt.data.tabular import Csv, JsonLines, Parquet, TabularTask
from fedbbpt.errors import ConfigError, DataError

KINDS = {"csv": Csv, "jsonl": JsonLines, "parquet": Parquet}
ROWS = [
    {"review": f"Sweet, {i}", "stars": str(1 + i % 3), "patient": f"p{i // 6}", "hospital": "AB"[i % 2]}
    for i in range(180)
]


def written(folder: Path, kind: str, rows: list[dict[str, str]] = ROWS) -> Path:
    path = folder / f"table.{kind}"
    if kind == "csv":
        lines = [",".join(rows[0]), *(",".join(f'"{value}"' for value in row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def opened(path: Path, **options: object) -> TabularTask:
    kind = KINDS[path.suffix.removeprefix(".").replace("tsv", "csv")]
    return kind(str(path), **{"text_column": "review", "label_column": "stars", **options})


def everything(task: TabularTask) -> dict[str, dict[str, int]]:
    """Side -> text -> label."""
    pool, shots = task.load(None), task.provider.shots
    assert shots is not None
    sides = {"provider": shots(None), "train": pool.train, "test": pool.test}
    return {side: dict(zip(data.inputs, data.labels.tolist(), strict=True)) for side, data in sides.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_on_one_side_with_its_label(kind: str, tmp_path: Path) -> None:
    task = opened(written(tmp_path, kind), provider_shots_per_class=5)
    sides = everything(task)
    assert task.classes == ("1", "2", "3")
    assert sum(map(len, sides.values())) == len(ROWS)
    together = {text: task.classes[label] for side in sides.values() for text, label in side.items()}
    assert together == {row["review"]: row["stars"] for row in ROWS}
    assert len(sides["provider"]) == 15
    assert len(sides["test"]) == len(ROWS) // 5


def test_without_shots_the_provider_has_none_and_clients_have_all(tmp_path: Path) -> None:
    task = opened(written(tmp_path, "csv"), provider_shots_per_class=0)
    pool = task.load(None)
    assert task.provider.shots is None
    assert pool.provider_examples == 0
    assert len(pool.train) + len(pool.test) == len(ROWS)
    with pytest.raises(DataError, match=r"needed are 2 for training and 1 for the test$"):
        opened(written(tmp_path, "csv", [*ROWS, {**ROWS[0], "stars": "4"}]), provider_shots_per_class=0).load(None)


def test_all_kinds_split_alike(tmp_path: Path) -> None:
    first, second, third = (everything(opened(written(tmp_path, kind))) for kind in KINDS)
    assert first == second == third


def test_numbers_are_ordered_by_value_and_other_types_are_read(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 11} for i in range(660)]
    task = Parquet(str(written(tmp_path, "parquet", rows)))
    assert task.classes == tuple(map(str, range(11)))


def test_tabs(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("review\tstars\n" + "".join(f"one, {i}\t{i % 2}\n" for i in range(120)))
    assert len(opened(path).load(None).train) > 10


def test_copies_stay_on_one_side_and_with_the_provider(tmp_path: Path) -> None:
    rows = [
        {"review": f" SAME  thing {i // 2} " if i % 2 else f"same thing {i // 2}", "stars": "12"[i // 2 % 2]}
        for i in range(240)
    ]
    sides = everything(opened(written(tmp_path, "jsonl", rows)))
    numbers = {side: {text.split()[-1] for text in texts} for side, texts in sides.items()}
    assert not numbers["train"] & numbers["test"]
    assert not numbers["provider"] & (numbers["train"] | numbers["test"])


def test_groups_stay_together_and_domains_are_numbered(tmp_path: Path) -> None:
    task = opened(
        written(tmp_path, "csv"), group_column="patient", domain_column="hospital", provider_shots_per_class=1
    )
    patients = {row["review"]: row["patient"] for row in ROWS}
    sides = {side: {patients[text] for text in texts} for side, texts in everything(task).items()}
    assert not sides["train"] & sides["test"]
    assert not sides["provider"] & (sides["train"] | sides["test"])
    hospitals = {row["review"]: "AB".index(row["hospital"]) for row in ROWS}
    data = task.load(None).test
    assert data.domains is not None
    assert data.domains.tolist() == [hospitals[text] for text in data.inputs]
    assert data.groups is not None
    assert len(set(data.groups.tolist())) == len(sides["test"])


class TestLabels:
    """What is not read as it is written is said."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_blanks_around_them(self, kind: str, tmp_path: Path) -> None:
        rows = [row | {"stars": f" {row['stars']}" if i < 3 else row["stars"]} for i, row in enumerate(ROWS)]
        task = opened(written(tmp_path, kind, rows))
        assert task.classes == ("1", "2", "3")
        (remark,) = task.remarks
        assert "column 'stars'" in remark
        assert "' 1' is read as '1' (in 1 of 180 rows)" in remark

    @pytest.mark.parametrize("kind", KINDS)
    def test_whole_numbers_with_a_point(self, kind: str, tmp_path: Path) -> None:
        rows = [row | {"stars": "1.0" if row["stars"] == "1" else row["stars"]} for row in ROWS]
        task = opened(written(tmp_path, kind, rows))
        assert task.classes == ("1", "2", "3")
        assert "'1.0' is read as '1' (in 60 of 180 rows)" in task.remarks[0]

    def test_numbers_that_a_missing_one_made_floats(self, tmp_path: Path) -> None:
        rows = [row | {"stars": float(row["stars"])} for row in ROWS]
        assert opened(written(tmp_path, "parquet", rows)).classes == ("1", "2", "3")
        assert opened(written(tmp_path, "jsonl", rows)).classes == ("1", "2", "3")

    def test_many_changes_are_counted(self, tmp_path: Path) -> None:
        rows = [row | {"patient": f"{row['patient']} "} for row in ROWS]
        (remark,) = opened(written(tmp_path, "csv", rows), group_column="patient").remarks
        assert remark.count("is read as") == 3
        assert remark.endswith("and 27 others likewise")

    def test_those_that_look_alike(self, tmp_path: Path) -> None:
        rows = [row | {"stars": ("good", "Good", "bad")[i % 3]} for i, row in enumerate(ROWS)]
        task = opened(written(tmp_path, "csv", rows))
        assert task.classes == ("Good", "bad", "good")
        assert "'Good', 'good'" in task.remarks[0]


class TestBad:
    @pytest.mark.parametrize("kind", KINDS)
    def test_wrong_column(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no column 'mood' .*'review', 'stars'.* --label-column"):
            opened(written(tmp_path, kind), label_column="mood")

    def test_one_column_for_both(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="'review' cannot be the column of both"):
            opened(written(tmp_path, "csv"), label_column="review")

    @pytest.mark.parametrize("kind", KINDS)
    def test_missing_value(self, kind: str, tmp_path: Path) -> None:
        rows = [*ROWS[:3], ROWS[3] | {"stars": " "}, *ROWS[4:]]
        with pytest.raises(DataError, match=r"row 4 .* no 'stars'"):
            opened(written(tmp_path, kind, rows))

    @pytest.mark.parametrize("kind", KINDS)
    def test_header_in_the_midst(self, kind: str, tmp_path: Path) -> None:
        rows = [*ROWS[:3], {name: name for name in ROWS[0]}, *ROWS[3:]]
        with pytest.raises(DataError, match=r"row 4 .* is the header once more"):
            opened(written(tmp_path, kind, rows))

    @pytest.mark.parametrize("kind", ["jsonl", "parquet"])
    def test_cells_of_other_types(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"row 1 .*: column 'review' holds 0, and a text is wanted"):
            opened(written(tmp_path, kind, [row | {"review": i} for i, row in enumerate(ROWS)]))
        with pytest.raises(DataError, match=r"row 1 .*: column 'stars' holds \['1'\], and a word or a number"):
            opened(written(tmp_path, kind, [row | {"stars": [row["stars"]]} for row in ROWS]))

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_file_and_none_named(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"cannot read .*nowhere: no such file"):
            KINDS[kind](str(tmp_path / "nowhere"))
        with pytest.raises(ConfigError, match=f"{kind}:PATH"):
            KINDS[kind](None)

    @pytest.mark.parametrize("kind", KINDS)
    def test_damaged_file(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / f"table.{kind}"
        path.write_bytes(b"PAR1\xff\xfe\x00{]\n" * 9)
        with pytest.raises(DataError, match=r"cannot read .*table\.\w+"):
            opened(path)

    @pytest.mark.parametrize(
        ("kind", "contents"), [("csv", "review,stars\nsüß,1\n"), ("jsonl", '{"review": "süß", "stars": 1}\n')]
    )
    def test_another_encoding(self, kind: str, contents: str, tmp_path: Path) -> None:
        path = tmp_path / f"table.{kind}"
        path.write_bytes(contents.encode("latin-1"))
        with pytest.raises(DataError, match=r"not UTF-8 text \(line \d\); save it as"):
            opened(path)

    @pytest.mark.parametrize(("kind", "contents"), [("csv", ""), ("csv", "review,stars\n"), ("jsonl", "\n\n")])
    def test_nothing_in_it(self, kind: str, contents: str, tmp_path: Path) -> None:
        path = tmp_path / f"table.{kind}"
        path.write_text(contents)
        with pytest.raises(DataError, match="no rows"):
            opened(path)

    def test_unquoted_separator(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("review,stars\nfine,1\nfine, or not,2\n")
        with pytest.raises(DataError, match=r"row 2 \(line 3\) .* quote the texts"):
            opened(path)

    def test_a_line_that_is_no_object(self, tmp_path: Path) -> None:
        path = tmp_path / "table.jsonl"
        path.write_text('{"review": "a", "stars": 1}\n[1, 2]\n')
        with pytest.raises(DataError, match=r"row 2 \(line 2\) .* no JSON object"):
            opened(path)

    def test_one_class(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="one class only, '1'"):
            opened(written(tmp_path, "csv", [row | {"stars": "1"} for row in ROWS]))

    def test_a_column_that_holds_no_classes(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="its own 'review'; is that the right --label-column"):
            opened(written(tmp_path, "csv"), text_column="hospital", label_column="review")

    def test_too_few_of_a_class(self, tmp_path: Path) -> None:
        task = opened(written(tmp_path, "csv", ROWS[:54]), provider_shots_per_class=16)
        with pytest.raises(DataError, match=r"class '\d' has too few texts: its 18 fall into"):
            task.load(None)
