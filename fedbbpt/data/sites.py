"""The data of several sites, each in a place of its own."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Task, TaskData, layout
from fedbbpt.data.cells import in_order
from fedbbpt.data.folder import Folder
from fedbbpt.data.tabular import Csv, JsonLines, Parquet, TabularTask
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.text_files import absolute_path
from fedbbpt.types import ArrayView, Dataset, Int64, Size
from fedbbpt.types.wire import named

TABLES: dict[str, type[TabularTask]] = {".csv": Csv, ".tsv": Csv, ".jsonl": JsonLines, ".parquet": Parquet}


class Sites(Task):
    """A federation in one folder: `sites:FOLDER` with an entry for each site, which becomes the client of that name.

    An entry is a folder that `folder:PATH` reads, or a table NAME.csv, NAME.tsv, NAME.jsonl or NAME.parquet. `modality`
    is what the entries hold, by default what is found; all of them hold the same. The classes are those of all sites
    together, and a site may lack some. The provider has no examples. Nothing is divided among the clients: each splits
    its own data just as a site of a real federation does, so data.shots_per_class counts for each of them.

    Tables are read as the task `csv` reads them: `text_column` is the column of the texts, `label_column` that of their
    classes, and texts with the same `group_column` stay together.

    Raises:
        DataError: no such folder, no sites in it, images beside texts, or a site's data cannot be read.
    """

    def __init__(
        self,
        source: str | None,
        /,
        *,
        modality: Modality | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
        group_column: str | None = None,
    ) -> None:
        root = _root(source)
        entries, others = _entries(root)
        self.source = str(root)
        self.modality = modality or _modality(root, entries)
        columns = {"text_column": text_column, "label_column": label_column, "group_column": group_column}
        given = {option: column for option, column in columns.items() if column is not None}
        if given and self.modality == "image":
            raise ConfigError(f"task.{next(iter(given))} is for tables, and {root} holds images; leave it out")
        self._sites = {name: _open(path, self.modality, given) for name, path in entries.items()}
        self.classes = union_of_classes(task.classes for task in self._sites.values())
        self.provider = Provider(self.classes)
        self.metadata = {"title": f"{self.modality}s of {len(entries):,} sites in {root}"}
        self._other_entries = (
            [f"entries left out, since they are neither folders nor tables: {layout.listed(others)}"] if others else []
        )
        self.remarks = self._other_entries

    @classmethod
    def resolve_options(cls, source: str | None, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Task`: looks for the modality, so that it is known wherever the folder is later on."""
        if options.get("modality") is not None:
            return options
        root = _root(source)
        return {**options, "modality": _modality(root, _entries(root)[0])}

    @classmethod
    def modality_of(cls, options: Mapping[str, Any]) -> Modality:
        """See `Task`."""
        return cast(Modality, options["modality"])

    def load(self, size: Size) -> TaskData:
        """See `Task`; the data of all sites behind each other, and apart in `TaskData.sites`."""
        sites = {name: site_data(task, size, self.classes) for name, task in self._sites.items()}
        self.remarks = [*self._other_entries, *self._remarks_of_sites()]
        validation = [data.validation for data in sites.values() if data.validation is not None]
        return TaskData(
            _joined([data.train for data in sites.values()]),
            _joined([data.test for data in sites.values()]),
            _joined(validation) if validation else None,
            user_supplied=True,
            sites=sites,
        )

    def _remarks_of_sites(self) -> list[str]:
        """The remarks on each site's data, and on classes that it lacks; equal ones once, with the sites' names."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, task in self._sites.items():
            for remark in (*task.remarks, *(f"no examples of {c!r}" for c in self.classes if c not in task.classes)):
                found[remark].append(name)
        return [f"site{'s' * (len(names) > 1)} {layout.listed(names)}: {remark}" for remark, names in found.items()]


def site_data(task: Task, size: Size, classes: Sequence[str]) -> TaskData:
    """Loads a site's own data, with labels that number the classes on which all sites agreed.

    Raises:
        DataError: the data hold another class, or cannot be read.
    """
    if others := [name for name in task.classes if name not in classes]:
        raise DataError(
            f"{task.source} holds the class {others[0]!r}, which is none of those that the sites agreed on: "
            f"{layout.listed(classes)}; leave its examples out, or agree on a list that holds it"
        )
    numbers = np.array([classes.index(name) for name in task.classes], np.int64)
    data = task.load(size)
    return replace(
        data,
        train=_relabelled(data.train, numbers),
        test=_relabelled(data.test, numbers),
        validation=None if data.validation is None else _relabelled(data.validation, numbers),
    )


def union_of_classes(sites: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The classes of several sites, sorted.

    >>> union_of_classes([("dog", "cat"), ("cat", "bird")])
    ('bird', 'cat', 'dog')
    """
    return in_order(name for classes in sites for name in classes)


def _root(source: str | None) -> Path:
    if not source:
        raise ConfigError("task 'sites' needs a path: --task sites:FOLDER, a folder with an entry for each site")
    try:
        root = absolute_path(source)
    except ValueError as e:
        raise DataError(f"cannot read {source!r}: {e}") from e
    if not root.is_dir():
        raise DataError(f"no folder {root}; --task sites:FOLDER expects a folder with an entry for each site")
    return root


def _entries(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The sites' data by the sites' names, sorted, and the names of other entries."""
    found: dict[str, Path] = {}
    others = []
    try:
        paths = sorted(path for path in root.iterdir() if not layout.is_hidden(path.name))
    except OSError as e:
        raise DataError(f"cannot read {root}: {(e.strerror or str(e)).lower()}") from e
    for path in paths:
        if not path.is_dir() and path.suffix.lower() not in TABLES:
            others.append(path.name)
            continue
        name = path.name if path.is_dir() else path.stem
        try:
            named(name)
            name.encode()
        except ValueError as e:
            raise DataError(f"{path} cannot be the name of a site: {e}; rename it") from e
        if name in found:
            raise DataError(f"{found[name]} and {path} are of the same name, and so one site; rename one of them")
        found[name] = path
    if not found:
        raise DataError(f"{root} holds no sites; expected a folder with images or a table of texts for each site")
    if len(found) > 1 and all(path.is_dir() and layout.SUBSET.fullmatch(name) for name, path in found.items()):
        raise DataError(f"{root} holds {layout.listed(found)}, the subsets of one data set; use --task folder:{root}")
    return dict(sorted(found.items())), others


def _modality(root: Path, entries: Mapping[str, Path]) -> Modality:
    folders = [name for name, path in entries.items() if path.is_dir()]
    tables = [name for name in entries if name not in folders]
    if folders and tables:
        raise DataError(
            f"{root} holds folders ({layout.listed(folders)}) beside tables ({layout.listed(tables)}); all sites of a "
            "federation hold the same, images or texts"
        )
    return "image" if folders else "text"


def _open(path: Path, modality: Modality, columns: Mapping[str, str]) -> Task:
    """The task of a site's own data."""
    if (modality == "image") != path.is_dir():
        raise DataError(f"{path} does not hold {modality}s; all sites of a federation hold the same, images or texts")
    if modality == "image":
        return Folder(str(path), provider_shots_per_class=0)
    return TABLES[path.suffix.lower()](str(path), provider_shots_per_class=0, **columns)


def _relabelled(data: Dataset, numbers: Int64) -> Dataset:
    return replace(data, labels=numbers[data.labels])


def _joined(parts: Sequence[Dataset]) -> Dataset:
    """The examples of several data sets, one behind the other; images stay where they are."""
    inputs: list[Any] = [part.inputs for part in parts]
    labels = np.concatenate([part.labels for part in parts])
    if inputs[0].dtype == object:
        return Dataset(np.concatenate(inputs), labels)
    return Dataset(ArrayView(cast(NDArray[Any], _JoinedImages(inputs)), np.arange(len(labels))), labels)


class _JoinedImages:
    """The images of several arrays (N, 3, h, w), one behind the other; read when they are indexed by their numbers."""

    def __init__(self, parts: Sequence[ArrayView]) -> None:
        self._parts, self._ends = parts, np.cumsum([len(part) for part in parts])
        self.shape, self.dtype = (int(self._ends[-1]), *parts[0].shape[1:]), parts[0].dtype

    def __getitem__(self, rows: Int64) -> NDArray[Any]:
        images = np.empty((*np.shape(rows), *self.shape[1:]), self.dtype)
        owners = np.searchsorted(self._ends, rows, side="right")
        for i, part in enumerate(self._parts):
            mine = owners == i
            images[mine] = part[np.asarray(rows)[mine] - (self._ends[i] - len(part))]
        return images


class SiteTask(Task):
    """A site's own data, with the classes on which all sites of a federation agreed."""

    def __init__(self, own: Task, classes: Sequence[str]) -> None:
        self._own, self.modality, self.source = own, own.modality, own.source
        self.classes = tuple(classes)
        self.provider = Provider(self.classes)

    def load(self, size: Size) -> TaskData:
        """See `Task`; see `site_data` for what it raises."""
        return site_data(self._own, size, self.classes)
