"""Which files of a folder are pictures, of which class, and for which side."""

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
SYSTEM = frozenset(  # what systems and programs leave in folders, beside what begins with a dot
    {"__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "@eadir"}
    | {"#recycle", "$recycle.bin", "recycler", "system volume information", "lost+found", "found.000"}
)
SIDE = re.compile(
    r"(?:(?P<train>train(?:ing)?)|(?P<test>test(?:ing)?)|(?P<validation>val|valid|validation))"
    r"(?:[ _-]?(?:set|data|images?))?",
    re.IGNORECASE,
)
LISTED = 4  # kinds of other files that a remark names


class Layout(NamedTuple):
    """What a folder holds."""

    classes: tuple[str, ...]
    files: list[Path]  # in the order of the classes
    labels: list[int]
    sides: list[Subset] | None  # as the folders have it; None where they do not
    remarks: list[str]


def read(root: Path) -> Layout:
    """The pictures below a folder with one folder a class, or with train/ and test/ (and val/) above those.

    Hidden files, and those that systems leave, are passed over; other files are counted in the remarks.

    Raises:
        DataError: no such folder, no two classes in it, a class without pictures, or sides that cannot be told apart.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}; --task folder:PATH wants a folder with one folder a class in it")
    others: Counter[str] = Counter()
    found = sorted(_pictures(root, others))
    above = _by_folder(found, root)
    outside = above.pop("", [])
    inside = {top: _by_folder(files, root / top) for top, files in above.items()}
    below = _turned(inside)
    remarks = [_left_out(others)] if others else []
    if sides := _sides(root, below):
        examples = [(name, file, sides[top]) for top in below for name, files in below[top].items() for file in files]
        outside += [file for name, file, _ in examples if not name]
        examples = [example for example in examples if example[0]]
        remarks.append(
            f"the split is that of the folders {', '.join(f'{top} ({side})' for top, side in sides.items())}"
        )
        if "test" not in sides.values():
            remarks.append("without a folder for the test, the one for validation is the test")
            examples = [(name, file, "test" if side == "validation" else side) for name, file, side in examples]
    else:
        _check_classes(root, found, above, others)
        examples = [(name, file, "train") for name, files in above.items() for file in files]
        inner = [set(folders) for folders in inside.values()]
        if len(inner[0]) > 1 and "" not in inner[0] and all(names == inner[0] for names in inner):
            remarks.append(
                f"every class folder holds the same folders ({_listed(inner[0])}); if these are the classes, let them "
                f"be right in {root}"
            )
        elif any(len(names - {""}) > 1 for names in inner):
            remarks.append(
                "folders inside class folders are not kept together; if each is, say, of one patient, sort them into "
                "train/CLASS and test/CLASS"
            )
    if outside:
        remarks.append(f"pictures left out, since they are in no class folder: {len(outside):,} ({outside[0]}, …)")
    classes = sorted({name for name, _, _ in examples})
    for name in classes:
        _check_name(root, name)
    labels = {name: label for label, name in enumerate(classes)}
    examples.sort(key=lambda example: labels[example[0]])
    return Layout(
        tuple(classes),
        [file for _, file, _ in examples],
        [labels[name] for name, _, _ in examples],
        [side for _, _, side in examples] if sides else None,
        remarks,
    )


def _pictures(root: Path, others: Counter[str]) -> Iterator[Path]:
    """All pictures below the root, through links to folders, too; counts what else is there, by its kind."""

    def unreadable(error: OSError) -> NoReturn:
        raise DataError(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}") from error

    for folder, inner, files in os.walk(root, onerror=unreadable, followlinks=True):
        inner[:] = [name for name in inner if not (_hidden(name) or _leads_back(Path(folder, name), root))]
        for file in (Path(folder, name) for name in files if not _hidden(name)):
            if not os.path.isfile(file):  # noqa: PTH113 - where Path.is_file raises, it says no
                others["broken links" if file.is_symlink() else "pipes or devices"] += 1
            elif file.suffix.lower() in SUFFIXES:
                yield file
            else:
                others[file.suffix.lower() or "without a suffix"] += 1


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.casefold() in SYSTEM


def _leads_back(folder: Path, root: Path) -> bool:
    """Whether a link goes to a folder that it lies in."""
    if not folder.is_symlink():
        return False
    real, above = folder.resolve(), [folder.parent]
    while above[-1] != root:
        above.append(above[-1].parent)
    return any(one.resolve().is_relative_to(real) for one in above)


def _by_folder(files: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Files by the folder below the root that they are in; "" for none."""
    found: dict[str, list[Path]] = {}
    for file in files:
        *folders, _ = file.relative_to(root).parts
        found.setdefault(folders[0] if folders else "", []).append(file)
    return found


def _turned(inside: dict[str, dict[str, list[Path]]]) -> dict[str, dict[str, list[Path]]]:
    """With the sides on top, where they are inside every class (CLASS/train/PICTURE); else as it is."""
    inner = {name for folders in inside.values() for name in folders}
    if len(inside) < 2 or any(map(SIDE.fullmatch, inside)) or not all(map(SIDE.fullmatch, inner)):
        return inside
    return {
        side: {name: folders[side] for name, folders in inside.items() if side in folders} for side in sorted(inner)
    }


def _sides(root: Path, below: dict[str, dict[str, list[Path]]]) -> dict[str, Subset]:
    """The side of each folder with pictures, if that is what they are; else nothing: then they are classes."""
    matched = {top: match for top in below if (match := SIDE.fullmatch(top))}
    sides = {top: cast(Subset, match.lastgroup) for top, match in matched.items()}
    flat = [top for top in sides if set(below[top]) == {""}]
    if len({sides[top] for top in sides if top not in flat}) > 1 and len(sides) < len(below):
        raise DataError(
            f"{root} holds {_listed(sides)} beside {_listed(set(below) - set(sides))}: the first are sides of a split, "
            "and the others are not; move the others elsewhere, or rename the first if they are classes"
        )
    if len(sides) < len(below) or len(set(sides.values())) < 2:
        return {}
    if flat:
        raise DataError(
            f"{root / flat[0]} holds pictures without a folder for each class (as {root}/train/CLASS/PICTURE); sort "
            "them, or name a folder whose pictures are sorted with --task folder:PATH"
        )
    if "train" not in sides.values():
        raise DataError(f"{root} holds {_listed(sides)} and no folder 'train'; expected {root}/train/CLASS/PICTURE")
    return sides


def _check_classes(root: Path, found: list[Path], above: dict[str, list[Path]], others: Counter[str]) -> None:
    more = f"; {_left_out(others)}" if others else ""
    if not above:
        pictures = f"{len(found):,} pictures" if found else "no pictures"
        raise DataError(
            f"{root} holds {pictures}, and no folders with pictures; put those of each class into one{more}"
        )
    deepest = Path(os.path.commonpath([file.parent for file in found]))
    if len(above) == 1 and any(file.parent != deepest for file in found):
        raise DataError(f"all pictures of {root} are in {deepest}; is that what is meant? --task folder:{deepest}")
    folders = sorted(child for child in root.iterdir() if child.is_dir() and not _hidden(child.name))
    if empty := [folder for folder in folders if folder.name not in above]:
        raise DataError(f"class {empty[0].name!r} has no images in {empty[0]}; add some or remove the folder{more}")
    if len(above) == 1:
        raise DataError(f"{root} holds 1 class folder, {_listed(above)}; a task needs at least 2{more}")


def _check_name(root: Path, name: str) -> None:
    try:
        f"{root}/{name}".encode()
    except UnicodeEncodeError as e:
        raise DataError(f"the name of the folder {f'{root}/{name}'!r} is not UTF-8; rename it") from e


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(map(repr, shown[:LISTED])) + (", …" if len(shown) > LISTED else "")


def _left_out(others: Counter[str]) -> str:
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in others.most_common(LISTED))
    more = ", …" if len(others) > LISTED else ""
    return f"files left out, since they are no pictures: {others.total():,} ({kinds}{more})"
