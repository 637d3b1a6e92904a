import os
from pathlib import Path

import pytest

from fedbbpt.data import layout
from fedbbpt.errors import DataError

PLAIN = ("cat/0.png", "cat/1.JPG", "dog/0.webp", "dog/deep/1.tiff")


@pytest.fixture
def made(tmp_path):
    """Empty files of these names in a new folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def names(found, root):
    return [str(file.relative_to(root)) for file in found.files]


def test_classes_are_the_folders(made):
    found = layout.read(root := made(*PLAIN))
    assert found.classes == ("cat", "dog")
    assert names(found, root) == list(PLAIN)
    assert found.labels == [0, 0, 1, 1]
    assert found.subsets is None
    assert found.remarks == []


@pytest.mark.parametrize(
    "left",
    [
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "Icon\r",
        "cat/._0.png",
        "cat/.hidden.png",
        "cat/Desktop.ini",
        "dog/~$1.png",
        "__MACOSX/cat/._0.png",
        "__MACOSX/cat/0.png",
        "@eaDir/cat/0.png",
        "cat/@eaDir/0.png",
        ".ipynb_checkpoints/0.png",
        "dog/.ipynb_checkpoints/0-checkpoint.png",
        ".git/0.png",
        "$RECYCLE.BIN/0.png",
        "System Volume Information/0.png",
    ],
)
def test_what_systems_leave_is_passed_over(made, left):
    found = layout.read(root := made(*PLAIN, left))
    assert found.classes == ("cat", "dog")
    assert names(found, root) == list(PLAIN)
    assert found.remarks == []


def test_other_files_are_counted(made):
    root = made(*PLAIN, "cat/licence.pdf", "dog/features.h5", "dog/raw.NEF", "cat/raw.nef", "README", "labels.csv")
    (root / "cat" / "9.png").symlink_to("nowhere")
    os.mkfifo(root / "cat" / "8.png")
    found = layout.read(root)
    assert names(found, root) == list(PLAIN)
    (remark,) = found.remarks
    assert remark.startswith("files left out, since they are not images: 8 (2 .nef, 1 ")


def test_pictures_outside_the_classes_are_counted(made):
    found = layout.read(made(*PLAIN, "loose.png", "more.jpg"))
    assert found.classes == ("cat", "dog")
    assert any("in no class folder: 2 (" in remark for remark in found.remarks)


def test_links_are_followed_and_circles_are_not(made, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "7.png").touch()
    root = made(*PLAIN)
    (root / "cat" / "linked").symlink_to(elsewhere)
    (root / "cat" / "up").symlink_to("..")
    (root / "dog" / "everything").symlink_to("/")
    (elsewhere / "back").symlink_to(root)
    found = layout.read(root)
    assert sorted(names(found, root)) == sorted([*PLAIN, "cat/linked/7.png"])


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "test", "val"),
        ("Train", "TEST", "Valid"),
        ("training", "testing", "validation"),
        ("Training_Set", "test-set", "val images"),
    ],
)
def test_folders_of_sides_are_the_split(made, folders):
    root = made(*(f"{side}/{name}" for side in folders for name in PLAIN), "annotations/train.json")
    found = layout.read(root)
    assert found.classes == ("cat", "dog")
    sides = dict(zip(names(found, root), found.subsets, strict=True))
    for folder, side in zip(folders, ("train", "test", "validation"), strict=True):
        assert {sides[f"{folder}/{name}"] for name in PLAIN} == {side}
    assert any(f"{folders[0]} (train)" in remark for remark in found.remarks)


def test_validation_stands_in_for_a_missing_test(made):
    found = layout.read(made(*(f"{side}/{name}" for side in ("train", "val") for name in PLAIN)))
    assert set(found.subsets) == {"train", "test"}
    assert "without a folder for the test, the one for validation is the test" in found.remarks


def test_a_train_may_be_a_class(made):
    found = layout.read(made("train/0.png", "train/steam/1.png", "bus/0.png"))
    assert found.classes == ("bus", "train")
    assert found.subsets is None


def test_another_level_below_all_classes_is_doubted(made):
    (remark,) = layout.read(made(*(f"{kind}/{name}" for kind in ("photo", "drawing") for name in PLAIN))).remarks
    assert "the same folders ('cat', 'dog'); if these are the classes" in remark


def test_folders_inside_classes_are_not_kept_together(made):
    (remark,) = layout.read(made(*PLAIN, "cat/ann/0.png", "cat/bob/0.png")).remarks
    assert remark.startswith("folders inside class folders are not kept together")


def test_sides_may_be_inside_the_classes(made):
    found = layout.read(
        root := made(*(f"{name}/{side}/0.png" for name in ("cat", "dog") for side in ("train", "test")))
    )
    assert found.classes == ("cat", "dog")
    assert names(found, root) == ["cat/test/0.png", "cat/train/0.png", "dog/test/0.png", "dog/train/0.png"]
    assert found.subsets == ["test", "train", "test", "train"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "holds no images, and no folders with images"),
        (["0.png", "1.png"], "holds 2 images, and no folders with images; put those of each class into one"),
        (["notes.txt"], r"holds no images.* 1 \(1 .txt\)"),
        (["cat/0.png"], "holds 1 class folder, 'cat'; a task needs at least 2"),
        ([f"pets/pets/{name}" for name in PLAIN], "are in .*/pets/pets; is that what is meant"),
        ([f"train/{name}" for name in PLAIN], "are in .*/train; is that what is meant"),
        ([*(f"train/{name}" for name in PLAIN), "test/0.png"], "test holds images without a folder for each class"),
        (["train/0.png", "test/0.png"], "holds images without a folder for each class"),
        ([f"{side}/{name}" for side in ("test", "val") for name in PLAIN], "no folder 'train'"),
        ([*(f"{s}/{n}" for s in ("train", "test") for n in PLAIN), "bird/0.png"], "'test', 'train' beside 'bird'"),
        (["cat/0.png", "dog/0.nef"], r"class 'dog' has no images in .* \(1 .nef\)"),
    ],
)
def test_what_is_no_task_is_said(made, files, says):
    with pytest.raises(DataError, match=says):
        layout.read(made(*files))


def test_names_that_are_no_text(made):
    root = made(*PLAIN)
    (root / "cat").rename(root / os.fsdecode(b"c\xff"))
    with pytest.raises(DataError, match="is not UTF-8; rename it"):
        layout.read(root)


def test_a_folder_that_cannot_be_read(made, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    root = made(*PLAIN)
    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DataError, match=r"cannot read .*: permission denied"):
        layout.read(Path(root))
