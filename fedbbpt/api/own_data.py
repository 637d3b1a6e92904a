"""Pictures or texts from Python become files, so that their run can be resumed and scored like any other."""

import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedbbpt.data import cells, layout
from fedbbpt.data.images import as_rgb
from fedbbpt.errors import DataError
from fedbbpt.printing import short_repr
from fedbbpt.run.atomic_files import writing
from fedbbpt.tuned.inputs import as_picture, as_text


def write_images(folder: Path, images: Sequence[Any], labels: Sequence[Any], clients: Sequence[Any] | None) -> str:
    """Writes pictures as PNG files, and copies files, into a new folder; returns the name of their task.

    Args:
        folder: gets a folder for each class; or one for each client, with those in it.
        images: PIL images, arrays (h, w, 3) or paths.
        labels: the name of each one's class.
        clients: the name of each one's client; None leaves the division to the settings.

    Raises:
        DataError: an image cannot be read, or a name cannot be that of a folder.
    """
    rows = _rows(images, labels, clients)
    for number, (one, label, client) in enumerate(rows):
        place = folder / _folder_name("client", client) if clients is not None else folder
        place /= _folder_name("label", label)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            if isinstance(one, str | Path):
                _copy(Path(one), place / f"{number:06d}{Path(one).suffix}")
            else:
                _save(one, f"image {number}", place / f"{number:06d}.png")
    return f"folder:{folder}" if clients is None else f"sites:{folder}"


def write_texts(folder: Path, texts: Sequence[Any], labels: Sequence[Any], clients: Sequence[Any] | None) -> str:
    """As `write_images`, for texts: one table, or one for each client."""
    tables: dict[str, list[str]] = defaultdict(list)
    for number, (one, label, client) in enumerate(_rows(texts, labels, clients)):
        name = _folder_name("client", client) if clients is not None else "texts"
        row = {"text": as_text(one, f"text {number}"), "label": label}
        tables[name].append(json.dumps(row, ensure_ascii=False) + "\n")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in tables.items():
            (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return f"jsonl:{folder / 'texts.jsonl'}" if clients is None else f"sites:{folder}"


def _rows(inputs: Sequence[Any], labels: Sequence[Any], clients: Sequence[Any] | None) -> list[tuple[Any, str, str]]:
    """The inputs with their labels' and clients' names."""
    given = {"inputs": len(inputs), "labels": len(labels)} | ({} if clients is None else {"clients": len(clients)})
    if len(set(given.values())) > 1:
        raise DataError(f"expected as many of each, got {', '.join(f'{n:,} {what}' for what, n in given.items())}")
    if not len(inputs):
        raise DataError("expected at least two examples of two classes, got none")
    names = [_label(one) for one in labels]
    return list(zip(inputs, names, [""] * len(names) if clients is None else [str(c) for c in clients], strict=True))


def _label(value: Any) -> str:
    """A label as tables hold it."""
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        return str(int(plain)) if isinstance(plain, bool) else cells.label(plain)
    except cells.Missing as e:
        raise DataError(f"a label is missing: {short_repr(plain)}; give each example one") from e
    except ValueError as e:
        raise DataError(f"a label is {e}") from e


def _folder_name(what: str, name: str) -> str:
    if "/" in name or layout.is_hidden(name) or layout.SUBSET.fullmatch(name) or name in ("", ".", ".."):
        raise DataError(f"the {what} {short_repr(name)} cannot name a folder of data; write it in another way")
    return name


def _save(one: Any, name: str, target: Path) -> None:
    """Saves a picture as a person sees it, whatever its colours are stored as."""
    picture = as_picture(one, name)
    try:
        as_rgb(picture).save(target)
    except DataError as e:
        raise DataError(f"{name} cannot be used: {e}") from e


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as e:
        raise DataError(f"cannot read {source}: {(e.strerror or str(e)).lower()}") from e
