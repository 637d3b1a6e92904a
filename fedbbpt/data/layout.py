"""Finds the images in a folder, with their classes and, where folders are named so, their subsets."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

from fedbbpt.data import Subset
from fedbbpt.errors import DataError

SUFFIXES = frozenset(
    {".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".hif", ".ico", ".j2c", ".j2k"}
    | {".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm"}
    | {".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"}
)
SYSTEM = frozenset(  # files that systems and programs leave behind, besides hidden ones
    {"__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "@eadir"}
    | {"#recycle", "$recycle.bin", "recycler", "system volume information", "lost+found", "found.000"}
)
SUBSET = re.compile(
    r"(?:(?P<train>train(?:ing)?)|(?P<test>test(?:ing)?)|(?P<validation>val|valid|validation))"
    r"(?:[ _-]?(?:set|data|images?))?",
    re.IGNORECASE,
)
MAX_LISTED = 4  # kinds of other files named in a remark


class Layout(NamedTuple):
    """The images in a folder."""

    classes: tuple[str, ...]
    files: list[Path]  # sorted by class
    labels: list[int]
    subsets: list[Subset] | None  # None if the folders are not split
    remarks: list[str]


def read(root: Path, min_classes: int = 2) -> Layout:
    """Finds the images below a folder that has one folder per class, or train/ and test/ (and val/) above those.

    Hidden files and files that systems leave behind are skipped; other files are counted in a remark.

    Raises:
        DataError: no such folder, fewer than `min_classes`, a class without images, or folders of unclear meaning.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}; --task folder:PATH expects a folder that contains one folder per class")
    others: Counter[str] = Counter()
    found = sorted(_images(root, others))
    above = _by_folder(found, root)
    outside = above.pop("", [])
    inside = {top: _by_folder(files, root / top) for top, files in above.items()}
    below = _subsets_on_top(inside)
    remarks = [_left_out(others)] if others else []
    if subsets := _subsets(root, below):
        examples = [(name, file, subsets[top]) for top in below for name, files in below[top].items() for file in files]
        outside += [file for name, file, _ in examples if not name]
        examples = [example for example in examples if example[0]]
        remarks.append(
            f"the split is that of the folders {', '.join(f'{top} ({subset})' for top, subset in subsets.items())}"
        )
        if "test" not in subsets.values():
            remarks.append("without a folder for the test, the one for validation is the test")
            examples = [(name, file, "test" if subset == "validation" else subset) for name, file, subset in examples]
    else:
        _check_classes(root, found, above, others, min_classes)
        examples = [(name, file, "train") for name, files in above.items() for file in files]
        inner = [set(folders) for folders in inside.values()]
        if len(inner[0]) > 1 and "" not in inner[0] and all(names == inner[0] for names in inner):
            remarks.append(
                f"every class folder holds the same folders ({listed(inner[0])}); if these are the classes, move "
                f"them to {root}"
            )
        elif any(len(names - {""}) > 1 for names in inner):
            remarks.append(
                "folders inside class folders are not kept together; if each is, say, of one patient, sort them into "
                "train/CLASS and test/CLASS"
            )
    if outside:
        remarks.append(f"images left out, since they are in no class folder: {len(outside):,} ({outside[0]}, …)")
    classes = sorted({name for name, _, _ in examples})
    for name in classes:
        _check_name(root, name)
    labels = {name: label for label, name in enumerate(classes)}
    examples.sort(key=lambda example: labels[example[0]])
    return Layout(
        tuple(classes),
        [file for _, file, _ in examples],
        [labels[name] for name, _, _ in examples],
        [subset for _, _, subset in examples] if subsets else None,
        remarks,
    )


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or left behind by a system or a program."""
    return name.startswith((".", "~$")) or name.casefold() in SYSTEM


def listed(names: Iterable[str]) -> str:
    """The first names, quoted, for a message."""
    shown = sorted(names)
    return ", ".join(map(repr, shown[:MAX_LISTED])) + (", …" if len(shown) > MAX_LISTED else "")


def visible_files(root: Path) -> Iterator[Path]:
    """Yields all files below the root, also through links to folders, but for hidden ones; broken links, too.

    Raises:
        DataError: a folder cannot be read.
    """

    def unreadable(error: OSError) -> NoReturn:
        raise DataError(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}") from error

    for folder, inner, files in os.walk(root, onerror=unreadable, followlinks=True):
        inner[:] = [name for name in inner if not (is_hidden(name) or _leads_back(Path(folder, name), root))]
        yield from (Path(folder, name) for name in files if not is_hidden(name))


def _images(root: Path, others: Counter[str]) -> Iterator[Path]:
    """Yields all images below the root; counts other files by kind."""
    for file in visible_files(root):
        if not os.path.isfile(file):  # noqa: PTH113 - where Path.is_file raises, it says no
            others["broken links" if file.is_symlink() else "pipes or devices"] += 1
        elif file.suffix.lower() in SUFFIXES:
            yield file
        else:
            others[file.suffix.lower() or "without a suffix"] += 1


def _leads_back(folder: Path, root: Path) -> bool:
    """Whether a link leads to a folder that contains it."""
    if not folder.is_symlink():
        return False
    real, above = folder.resolve(), [folder.parent]
    while above[-1] != root:
        above.append(above[-1].parent)
    return any(one.resolve().is_relative_to(real) for one in above)


def _by_folder(files: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Files by their top folder below the root; "" if there is none."""
    found: dict[str, list[Path]] = {}
    for file in files:
        *folders, _ = file.relative_to(root).parts
        found.setdefault(folders[0] if folders else "", []).append(file)
    return found


def _subsets_on_top(inside: dict[str, dict[str, list[Path]]]) -> dict[str, dict[str, list[Path]]]:
    """Puts subsets above classes if every class folder has them inside (CLASS/train/IMAGE)."""
    inner = {name for folders in inside.values() for name in folders}
    if len(inside) < 2 or any(map(SUBSET.fullmatch, inside)) or not all(map(SUBSET.fullmatch, inner)):
        return inside
    return {
        subset: {name: folders[subset] for name, folders in inside.items() if subset in folders}
        for subset in sorted(inner)
    }


def _subsets(root: Path, below: dict[str, dict[str, list[Path]]]) -> dict[str, Subset]:
    """The subset that each folder with images stands for; empty if the folders are classes."""
    matched = {top: match for top in below if (match := SUBSET.fullmatch(top))}
    subsets = {top: cast(Subset, match.lastgroup) for top, match in matched.items()}
    flat = [top for top in subsets if set(below[top]) == {""}]
    if len({subsets[top] for top in subsets if top not in flat}) > 1 and len(subsets) < len(below):
        raise DataError(
            f"{root} holds {listed(subsets)} beside {listed(set(below) - set(subsets))}: the first are subsets of a "
            "split, and the others are not; move the others elsewhere, or rename the first if they are classes"
        )
    if len(subsets) < len(below) or len(set(subsets.values())) < 2:
        return {}
    if flat:
        raise DataError(
            f"{root / flat[0]} holds images without a folder for each class (as {root}/train/CLASS/IMAGE); sort "
            "them, or name a folder whose images are sorted with --task folder:PATH"
        )
    if "train" not in subsets.values():
        raise DataError(f"{root} holds {listed(subsets)} and no folder 'train'; expected {root}/train/CLASS/IMAGE")
    return subsets


def _check_classes(
    root: Path, found: list[Path], above: dict[str, list[Path]], others: Counter[str], min_classes: int
) -> None:
    more = f"; {_left_out(others)}" if others else ""
    if not above:
        images = f"{len(found):,} images" if found else "no images"
        raise DataError(f"{root} holds {images}, and no folders with images; put those of each class into one{more}")
    deepest = Path(os.path.commonpath([file.parent for file in found]))
    if len(above) == 1 and any(file.parent != deepest for file in found):
        raise DataError(f"all images of {root} are in {deepest}; is that what is meant? --task folder:{deepest}")
    folders = sorted(child for child in root.iterdir() if child.is_dir() and not is_hidden(child.name))
    if empty := [folder for folder in folders if folder.name not in above]:
        raise DataError(f"class {empty[0].name!r} has no images in {empty[0]}; add some or remove the folder{more}")
    if len(above) < min_classes:
        raise DataError(f"{root} holds 1 class folder, {listed(above)}; a task needs at least {min_classes}{more}")


def _check_name(root: Path, name: str) -> None:
    try:
        f"{root}/{name}".encode()
    except UnicodeEncodeError as e:
        raise DataError(f"the name of the folder {f'{root}/{name}'!r} is not UTF-8; rename it") from e


def _left_out(others: Counter[str]) -> str:
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in others.most_common(MAX_LISTED))
    more = ", …" if len(others) > MAX_LISTED else ""
    return f"files left out, since they are not images: {others.total():,} ({kinds}{more})"
