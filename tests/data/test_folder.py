import shutil

import numpy as np
import pytest
from PIL import Image

from fedbbpt.data.folder import Folder
from fedbbpt.errors import ConfigError, DataError

SIZE = (8, 8)
GREYS = {"cat": (0, 100), "dog": (150, 250)}


def picture(name, seed):
    low, high = GREYS[name]
    return Image.fromarray(np.random.default_rng(seed).integers(low, high, (*SIZE, 3), np.uint8))


@pytest.fixture
def root(tmp_path):
    """Two classes, dark and bright, with 24 pictures each."""
    for name in GREYS:
        (tmp_path / name).mkdir()
        for i in range(24):
            picture(name, i).save(tmp_path / name / f"{i:02d}.png")
    return tmp_path


def images(data):
    return [image.tobytes() for image in data.inputs]


def everything(task):
    """All that a task reads, for provider and clients."""
    pool = task.load(SIZE)
    return task.provider.shots(SIZE), pool.train, pool.test


def test_classes_are_the_folders_names(root):
    (root / ".hidden").mkdir()
    (root / "notes.txt").write_text("not a class")
    assert Folder(str(root)).classes == ("cat", "dog")


def test_labels_go_with_their_pictures(root):
    for data in everything(Folder(str(root))):
        bright = data.inputs[:].mean((1, 2, 3)) > 125
        assert np.array_equal(bright, data.labels == 1)


def test_every_picture_is_somewhere_once(root):
    parts = [image for data in everything(Folder(str(root))) for image in images(data)]
    assert len(parts) == len(set(parts)) == 48


def test_a_fifth_of_each_class_is_for_the_test(root):
    assert np.bincount(Folder(str(root)).load(SIZE).test.labels).tolist() == [5, 5]


def test_nested_folders_and_capital_suffixes_count(root):
    before = sum(map(len, everything(Folder(str(root)))))
    (root / "cat" / "more").mkdir()
    picture("cat", 99).save(root / "cat" / "more" / "EXTRA.PNG")
    assert sum(map(len, everything(Folder(str(root))))) == before + 1


@pytest.mark.parametrize("shots", [1, 3])
def test_provider_gets_its_shots_and_clients_never_see_them(root, shots):
    provider, train, test = everything(Folder(str(root), provider_shots_per_class=shots))
    assert np.bincount(provider.labels).tolist() == [shots, shots]
    assert not set(images(provider)) & set(images(train) + images(test))


def test_without_shots_the_provider_has_none_and_clients_have_all(root):
    task = Folder(str(root), provider_shots_per_class=0)
    pool = task.load(SIZE)
    assert task.provider.shots is None
    assert pool.provider_examples == 0
    assert len(pool.train) + len(pool.test) == 48


def test_copies_stay_on_one_side(root):
    for file in sorted(root.rglob("*.png")):
        shutil.copy(file, file.with_name(f"zz-{file.name}"))
    pool = Folder(str(root)).load(SIZE)
    assert not set(images(pool.train)) & set(images(pool.test))


def test_copies_of_the_providers_shots_stay_with_the_provider(root):
    for file in sorted(root.rglob("*.png")):
        shutil.copy(file, file.with_name(f"zz-{file.name}"))
    provider, train, test = everything(Folder(str(root)))
    assert not set(images(provider)) & set(images(train) + images(test))


def test_copies_in_another_format_do_not_reach_the_test(root):
    for file in sorted(root.rglob("1?.png")):
        with Image.open(file) as image:
            image.save(file.with_suffix(".bmp"))
    task = Folder(str(root))
    pool = task.load(SIZE)
    others = {*images(pool.train), *images(task.provider.shots(SIZE))}
    assert not others & set(images(pool.test))
    assert "since the provider or training has the same" in task.remarks[-1]


def test_twelve_bits_in_sixteen_are_said(root):
    dim = np.random.default_rng(0).integers(0, 4096, SIZE).astype(np.uint16)
    for file in (root / "cat").iterdir():
        Image.fromarray(dim + np.uint16(int(file.stem))).save(file)
    task = Folder(str(root), provider_shots_per_class=1)
    task.load(SIZE)
    assert task.remarks[0].startswith("23 of 46 images are nearly black")


def test_copies_are_together_within_training(root):
    for file in sorted(root.rglob("1?.png")):
        shutil.copy(file, file.with_suffix(".copy.png"))
    train = Folder(str(root)).load(SIZE).train
    shown = images(train)
    assert len(set(shown)) < len(shown)
    assert [[a == b for b in shown] for a in shown] == [[a == b for b in train.groups] for a in train.groups]


def test_classes_that_look_alike_are_doubted(root):
    (root / "cat").rename(root / "Dog")
    task = Folder(str(root))
    assert task.remarks == ["the classes 'Dog', 'dog' differ, but look alike; if they are one, write them alike"]


def test_new_names_change_nothing_about_the_split(root):
    before = set(images(Folder(str(root)).load(SIZE).test))
    for file in sorted(root.rglob("*.png")):
        file.rename(file.with_name(f"renamed-{file.name}"))
    assert set(images(Folder(str(root)).load(SIZE).test)) == before


def test_argument_is_the_absolute_path(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    assert Folder(root.name).source == str(root)


@pytest.mark.parametrize("argument", [None, ""])
def test_path_is_needed(argument):
    with pytest.raises(ConfigError, match="folder:PATH"):
        Folder(argument)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        Folder(str(tmp_path / "nowhere"))


def test_a_folder_that_is_a_link_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=r"(cannot read|no folder) .*loop"):
        Folder(str(tmp_path / "loop"))


def test_one_class_is_too_few(root):
    shutil.rmtree(root / "dog")
    with pytest.raises(DataError, match="1 class folder"):
        Folder(str(root))


def test_empty_class(root):
    (root / "bird").mkdir()
    with pytest.raises(DataError, match="'bird' has no images"):
        Folder(str(root))


def test_small_class(root):
    (root / "bird").mkdir()
    picture("cat", 500).save(root / "bird" / "only.png")
    with pytest.raises(DataError, match="'bird' has too few images"):
        Folder(str(root)).load(SIZE)


def test_more_shots_than_pictures(root):
    with pytest.raises(DataError, match="50 for the provider"):
        Folder(str(root), provider_shots_per_class=50).load(SIZE)


def test_text_that_is_named_png(root):
    (root / "cat" / "liar.png").write_text("I am no picture")
    with pytest.raises(DataError, match=r"liar\.png .*image.*repair or remove it"):
        everything(Folder(str(root)))


@pytest.mark.parametrize("kept", [0, 20, 60, 150])
def test_truncated_picture(root, kept):
    whole = (root / "cat" / "00.png").read_bytes()
    (root / "cat" / "half.png").write_bytes(whole[:kept])
    with pytest.raises(DataError, match=r"half\.png .*image.*repair or remove it"):
        everything(Folder(str(root)))


def test_seven_pictures_a_class_are_enough(root):
    for file in sorted(root.rglob("*.png")):
        if int(file.stem) >= 7:
            file.unlink()
    assert [np.bincount(data.labels).tolist() for data in everything(Folder(str(root)))] == [[4, 4], [2, 2], [1, 1]]


def test_copies_are_left_out_of_a_given_test(root, tmp_path_factory):
    top = tmp_path_factory.mktemp("given")
    shutil.copytree(root, top / "train")
    for name in GREYS:
        (top / "test" / name).mkdir(parents=True)
        for i in range(4):
            picture(name, 100 + i).save(top / "test" / name / f"{i}.png")
    shutil.copy(top / "train" / "cat" / "03.png", top / "test" / "cat" / "again.png")
    task = Folder(str(top))
    pool = task.load(SIZE)
    assert np.bincount(pool.test.labels).tolist() == [4, 4]
    assert np.bincount(pool.train.labels).tolist() == [20, 20]
    assert "copies of earlier ones: 1 " in task.remarks[-1]
