"""A federation in one folder: who its clients are, what they hold, and what is said of folders that are none."""

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from fedbbpt.data import TaskData
from fedbbpt.data.folder import Folder
from fedbbpt.data.sites import Sites, site_data, union_of_classes
from fedbbpt.data.tabular import Csv
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.types import Dataset

SIZE = (8, 8)
CLASSES = ("bird", "cat", "dog")


def images(site: Path, *classes: str, count: int = 12) -> Path:
    """A site's class folders with images that no other site or class has."""
    for name in classes:
        (site / name).mkdir(parents=True)
        rng = np.random.default_rng(list(f"{site.name}/{name}".encode()))
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(site / name / f"{i}.png")
    return site


def table(path: Path, *classes: str, count: int = 12) -> Path:
    """A site's table with texts that no other site or class has."""
    rows = [{"review": f"{path.stem}, {name}: {i}", "stars": name} for name in classes for i in range(count)]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f'{{"review": "{row["review"]}", "stars": "{row["stars"]}"}}\n' for row in rows))
    else:
        separator = "\t" if path.suffix == ".tsv" else ";"
        path.write_text("\n".join(separator.join(cells) for cells in (rows[0], *(row.values() for row in rows))))
    return path


@pytest.fixture
def zoos(tmp_path: Path) -> Path:
    """Three sites of images, none of which has all classes; the classes of the last have other numbers alone."""
    images(tmp_path / "rome", "bird", "cat")
    images(tmp_path / "berlin", "cat", "dog")
    images(tmp_path / "paris", "bird", "dog")
    return tmp_path


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    """A site for each kind of table."""
    for name in ("a.csv", "b.tsv", "c.jsonl", "d.parquet"):
        table(tmp_path / name, "bad", "good")
    return tmp_path


def contents(*parts: Dataset) -> list[bytes]:
    return sorted(content for part in parts for content in part.contents())


def named(data: TaskData, classes: tuple[str, ...]) -> dict[bytes, str]:
    """The class of each example."""
    pairs = [zip(part.contents(), part.labels, strict=True) for part in (data.train, data.test)]
    return {content: classes[label] for part in pairs for content, label in part}


def test_each_entry_is_a_site_with_the_examples_in_it_under_their_classes(zoos: Path) -> None:
    task = Sites(str(zoos))
    sites = task.load(SIZE).sites
    assert task.classes == CLASSES
    assert list(sites) == ["berlin", "paris", "rome"]
    for name, data in sites.items():
        files = [(np.asarray(Image.open(path)), path.parent.name) for path in (zoos / name).rglob("*.png")]
        assert named(data, task.classes) == {pixels.transpose(2, 0, 1).tobytes(): name for pixels, name in files}


def test_all_kinds_of_tables_are_sites(shops: Path) -> None:
    task = Sites(str(shops), text_column="review", label_column="stars")
    sites = task.load(None).sites
    assert (task.modality, task.classes) == ("text", ("bad", "good"))
    assert list(sites) == ["a", "b", "c", "d"]
    for name, data in sites.items():
        assert named(data, task.classes) == {
            f"{name}, {stars}: {i}".encode(): stars for stars in ("bad", "good") for i in range(12)
        }


def test_all_data_are_those_of_the_sites_behind_each_other(zoos: Path) -> None:
    data = Sites(str(zoos)).load(SIZE)
    for subset in ("train", "test"):
        whole, parts = getattr(data, subset), [getattr(site, subset) for site in data.sites.values()]
        assert list(whole.contents()) == [content for part in parts for content in part.contents()]
        assert np.array_equal(whole.labels, np.concatenate([part.labels for part in parts]))
        some = np.array([len(whole) - 1, 0, len(parts[0])])
        assert np.array_equal(whole.take(some).inputs[:], np.stack([whole.inputs[i] for i in some]))


def test_a_site_splits_its_data_as_it_does_alone(zoos: Path) -> None:
    together = Sites(str(zoos)).load(SIZE).sites["paris"]
    alone = site_data(Folder(str(zoos / "paris"), provider_shots_per_class=0), SIZE, CLASSES)
    for subset in ("train", "test"):
        ours, theirs = getattr(together, subset), getattr(alone, subset)
        assert list(ours.contents()) == list(theirs.contents())
        assert np.array_equal(ours.labels, theirs.labels)
        assert set(ours.labels.tolist()) == {0, 2}


def test_folders_for_training_and_test_are_a_site_too(tmp_path: Path) -> None:
    for subset in ("train", "val", "test"):
        images(tmp_path / "rome" / subset, "cat", "dog")
    images(tmp_path / "berlin", "bird", "dog")
    data = Sites(str(tmp_path)).load(SIZE)
    assert data.validation is not None
    validation = data.sites["rome"].validation
    assert validation is not None
    assert contents(data.validation) == contents(validation)
    assert set(validation.labels.tolist()) == {1, 2}
    assert data.sites["berlin"].validation is None


def test_the_provider_has_no_examples(zoos: Path) -> None:
    provider = Sites(str(zoos)).provider
    assert provider.shots is None
    assert provider.classes == CLASSES
    assert Sites(str(zoos)).load(SIZE).provider_examples == 0


def test_groups_stay_together_in_every_table(tmp_path: Path) -> None:
    for name in "ab":
        rows = [f"{name} {i},{'xy'[i % 2]},{i // 8}" for i in range(96)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label,patient", *rows]))
    for data in Sites(str(tmp_path), group_column="patient").load(None).sites.values():
        sides = [{int(text.split()[1]) // 8 for text in part.inputs} for part in (data.train, data.test)]
        assert not sides[0] & sides[1]


def test_what_a_site_lacks_and_what_is_no_site_is_noted(zoos: Path) -> None:
    (zoos / "README.md").write_text("not a site")
    (zoos / ".hidden").mkdir()
    (zoos / "rome" / "notes.txt").write_text("not an image")
    task = Sites(str(zoos))
    task.load(SIZE)
    assert task.remarks == [
        "entries left out, since they are neither folders nor tables: 'README.md'",
        "site 'berlin': no examples of 'bird'",
        "site 'paris': no examples of 'cat'",
        "site 'rome': files left out, since they are not images: 1 (1 .txt)",
        "site 'rome': no examples of 'dog'",
    ]


def test_the_same_remark_on_many_sites_is_made_once(tmp_path: Path) -> None:
    for i in range(6):
        images(tmp_path / f"site-{i}", "cat", "dog")
        (tmp_path / f"site-{i}" / "notes.txt").write_text("not an image")
    task = Sites(str(tmp_path))
    task.load(SIZE)
    (remark,) = task.remarks
    assert remark.startswith("sites 'site-0', 'site-1', 'site-2', 'site-3', …: files left out")


def test_the_modality_is_found_once_and_known_without_the_folder(shops: Path, tmp_path: Path) -> None:
    found = Sites.resolve_options(str(shops), {"modality": None, "text_column": "review"})
    assert found == {"modality": "text", "text_column": "review"}
    assert Sites.resolve_options(str(tmp_path / "gone"), found) == found
    assert Sites.modality_of(found) == "text"


def test_classes_that_are_numbers_are_sorted_as_numbers() -> None:
    assert union_of_classes([("9", "10"), ("2", "9")]) == ("2", "9", "10")


def test_a_class_that_was_not_agreed_on_is_refused(shops: Path) -> None:
    task = Csv(str(shops / "a.csv"), text_column="review", label_column="stars")
    with pytest.raises(DataError, match=r"a.csv holds the class 'good', which is none of those.*'bad', 'fair'"):
        site_data(task, None, ("bad", "fair"))


@pytest.mark.parametrize("source", [None, ""])
def test_a_path_is_needed(source: str | None) -> None:
    with pytest.raises(ConfigError, match="--task sites:FOLDER"):
        Sites(source)
    with pytest.raises(ConfigError, match="--task sites:FOLDER"):
        Sites.resolve_options(source, {"modality": None})


def test_folders_that_hold_no_federation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*gone; --task sites:FOLDER expects"):
        Sites(str(tmp_path / "gone"))
    with pytest.raises(DataError, match="holds no sites"):
        Sites(str(tmp_path))
    images(tmp_path / "train", "cat", "dog")
    images(tmp_path / "test", "cat", "dog")
    with pytest.raises(DataError, match=f"the subsets of one data set; use --task folder:{tmp_path}"):
        Sites(str(tmp_path))


def test_class_folders_in_place_of_sites_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "cat", "dog")
    with pytest.raises(DataError, match="cat holds 12 images, and no folders with images"):
        Sites(str(tmp_path))


def test_images_beside_texts_are_refused(zoos: Path) -> None:
    table(zoos / "shop.csv", "bad", "good")
    with pytest.raises(DataError, match=r"holds folders \('berlin', 'paris', 'rome'\) beside tables \('shop'\)"):
        Sites(str(zoos))
    with pytest.raises(DataError, match=r"shop.csv does not hold images"):
        Sites(str(zoos), modality="image")


def test_two_sites_of_one_name_are_refused(shops: Path) -> None:
    table(shops / "a.jsonl", "bad", "good")
    with pytest.raises(DataError, match=r"a.csv and .*a.jsonl are of the same name"):
        Sites(str(shops))


def test_a_name_that_no_site_can_have_is_refused(tmp_path: Path) -> None:
    images(tmp_path / "two\nlines", "cat", "dog")
    with pytest.raises(DataError, match="cannot be the name of a site"):
        Sites(str(tmp_path))


def test_columns_are_for_tables(zoos: Path) -> None:
    with pytest.raises(ConfigError, match=r"task.label_column is for tables"):
        Sites(str(zoos), label_column="species")
