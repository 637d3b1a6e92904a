"""`fedbbpt.train` and `fedbbpt.resume`."""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from fedbbpt.api.own_data import write_images, write_texts
from fedbbpt.api.run import Run
from fedbbpt.config import make_config
from fedbbpt.config.presets import SECTIONS
from fedbbpt.errors import ConfigError, RunError
from fedbbpt.run import train as runs
from fedbbpt.run.atomic_files import new_folder
from fedbbpt.run.callback import Callback, Callbacks
from fedbbpt.run.progress import progress_reporter

DATA = "data"  # the folder of data from Python, in that of the run


def train(
    task: str | Mapping[str, Any] | None = None,
    *,
    images: Any = None,
    texts: Any = None,
    labels: Any = None,
    clients: int | Collection[Any] | None = None,
    out: str | Path | None = None,
    preset: str | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Trains a new run in a simulation, and returns it.

    The data are those of a task, or are given here with their labels; these are stored in the run's folder, as PNG
    files or as tables, since a run needs them to be resumed or scored again. About a fifth of each class becomes test
    data, and a few examples of each class go to the model's provider (`fedbbpt.data.train_test_split`).

    Example::

        run = fedbbpt.train(task="digits", rounds=2, out="runs/two-rounds")
        run = fedbbpt.train(images=pictures, labels=names, clients=5)
        print(run.test_accuracy)

    Args:
        task: what `fedbbpt train --task` takes, such as "digits", "folder:PATH" or "csv:PATH"; with options, a table
            such as {"name": "csv:PATH", "text_column": "review"}. Of data that are given here, the options alone, such
            as {"provider_shots_per_class": 4}.
        images: in place of a task: PIL images, arrays (h, w, 3), paths, or an array (n, h, w, 3).
        texts: in place of a task: strings.
        labels: the class of each of these, a word or a number.
        clients: their number; or, of data that are given here, the name of each example's client.
        out: the new folder of the run; by default runs/NAME-NNN.
        preset: see `fedbbpt train --help`.
        callbacks: are told of what happens, see `fedbbpt.run.callback.Callback`.
        progress: whether it is printed, too.
        settings: all others of `fedbbpt config show`: numbers such as `rounds=3`, the name of a component such as
            `backend="local-vit"`, or a table such as `prompt={"name": "dct", "epsilon": 0.2}`.

    Raises:
        UnknownName, ConfigError: a setting does not exist, has no such value, or does not go with the others.
        DataError: the data cannot be used.
        BackendError: the model cannot be opened or asked.
        BudgetError: the next query would exceed a limit; resume the run with a higher one.
        RunError: the folder already holds a run, or cannot be written.
    """
    own_options = dict(task) if isinstance(task, Mapping) and "name" not in task else {}
    given = {"task": None if own_options else task, "images": images, "texts": texts}
    sources = [name for name, value in given.items() if value is not None]
    own = images is not None or texts is not None
    if len(sources) > 1 or own == (labels is None) or (own_options and not own):
        raise ConfigError("the data are a task=, or images= with labels=, or texts= with labels=; give one of these")
    settings = _settings(settings | ({} if given["task"] is None else {"task": task}))
    name = settings.get("task", {"name": (sources or ["digits"])[0]})["name"].partition(":")[0]
    with new_folder(None if out is None else Path(out), Path("runs"), name) as folder:
        owners = list(clients) if isinstance(clients, Collection) and not isinstance(clients, str) else None
        if owners is not None and labels is None:
            raise ConfigError("clients= is a number where the data are a task; sites:FOLDER has clients with names")
        if owners is None and clients is not None:
            settings["data"] = dict(settings.get("data", {})) | {"clients": clients}
        with _data_of_a_run(folder) if labels is not None else nullcontext(folder) as place:
            if labels is not None:
                write, inputs = (write_texts, texts) if images is None else (write_images, images)
                settings["task"] = own_options | {"name": write(place, list(inputs), list(labels), owners)}
            config = make_config(settings, preset)
            with _followed(callbacks, progress) as callback:
                runs.train(config, folder, callback)
    return Run(folder)


def resume(folder: str | Path, *, callbacks: Iterable[Callback] = (), progress: bool = True, **limits: Any) -> Run:
    """Continues the run in a folder from its last checkpoint, to the same result as an uninterrupted one.

    Args:
        folder: of the run.
        callbacks, progress: as in `train`.
        limits: max_queries, max_requests and max_cost of a paid service, in place of those that the run had.

    Raises:
        RunError: there is no run, or it has no intact checkpoint, or config or data have changed.
        BudgetError: as in `train`.
    """
    with _followed(callbacks, progress) as callback:
        runs.resume(Path(folder), callback, limits)
    return Run(Path(folder))


@contextmanager
def _data_of_a_run(folder: Path) -> Iterator[Path]:
    """A new folder within that of a run, for its data; removed again if the run does not begin."""
    if (folder / "config.toml").exists() or (folder / DATA).exists():
        raise RunError(
            f"{folder} already holds a run or its data: continue with fedbbpt.resume, or choose another out="
        )
    try:
        yield (folder / DATA).absolute()
    finally:
        if not (folder / "config.toml").exists():
            shutil.rmtree(folder / DATA, ignore_errors=True)


@contextmanager
def _followed(callbacks: Iterable[Callback], progress: bool) -> Iterator[Callback]:
    """All callbacks as one, with what prints the progress first."""
    with progress_reporter() if progress else nullcontext(None) as reporter:
        yield Callbacks(*([reporter] if reporter else []), *callbacks)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as `make_config` takes them: a component's name alone becomes its table."""
    return {
        key: {"name": value} if key in SECTIONS and isinstance(value, str) else value for key, value in given.items()
    }
