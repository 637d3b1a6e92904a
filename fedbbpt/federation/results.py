"""Results of finished runs that a federation's server has handed out to a site."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import FederationError, RunError
from fedbbpt.federation.dtypes import dtype_of, following
from fedbbpt.federation.kits import Kit
from fedbbpt.federation.site_config import FILE, SiteConfig, public
from fedbbpt.run import checkpoint, environment
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.run.checkpoint import Progress
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.records import to_record
from fedbbpt.run.resume import check_config_unchanged, config_sha256, read_run
from fedbbpt.run.run_folder import check_new_run_folder

COPIED = ("metrics.jsonl", "summary.json", "report.html")  # as they are


def find_result(kit: Kit, run: str | None = None) -> Path:
    """The folder of a result in a site's kit.

    Args:
        kit: the site's.
        run: the run's name, or the beginning of it; None if there is only one.

    Raises:
        FederationError: there is none, or more than one.
    """
    every = sorted((kit.folder / "runs").glob("*/result"), key=lambda folder: folder.stat().st_mtime)
    found = [folder for folder in every if folder.parent.name.startswith(run or "")]
    if not found:
        named = f" of a run {run}" if run else ""
        raise FederationError(
            f"the kit {kit.folder} holds no result{named}: the server hands it out when a run ends, and again with "
            "fedbbpt train --resume there"
        )
    if len(found) > 1:
        said = ", ".join(f"{folder.parent.name[:8]} ({_clock(folder.stat().st_mtime)})" for folder in found)
        raise FederationError(f"the kit {kit.folder} holds {len(found)} results: name one of {said}")
    return found[0]


def copy_result(kit: Kit, result: Path, out: Path) -> None:
    """Copies a result into a new run folder, in which the model is the one that the site itself names.

    What the server sent names the model without what is private to a site, such as a file's folder or a key's. It is
    the site's own `site.toml` that decides what `fedbbpt predict` loads and asks.

    Raises:
        FederationError: the result is damaged, or the site has another model now.
        RunError: `out` holds a run, or cannot be written.
    """
    own = SiteConfig.read(kit.folder)
    with _intact(result):
        config, record = read_run(result)
        environment.read_results(result)
        progress = _last_checkpoint(result)
        check_config_unchanged(config, progress, result)
    backend = following(own.backend, dtype_of(config.backend))
    if (theirs := public(config.backend)) != (ours := public(backend)):
        raise FederationError(
            f"the run queried {_listed(theirs)}, and {kit.folder / FILE} now names {_listed(ours)}; name that model "
            "there again to fetch the result"
        )
    config = config.model_copy(update={"backend": backend})
    fingerprint = config_sha256(config)
    with folder_lock(out):
        check_new_run_folder(out, config)
        with writing(out):
            for name in COPIED:
                shutil.copyfile(result / name, out / name)
        checkpoint.save(out / "checkpoints", replace(progress, config_sha256=fingerprint))
        changed = record.model_copy(update={"config_sha256": fingerprint})
        write_atomic(out / environment.FILE, to_record(changed.model_dump()))
        write_atomic(out / "config.toml", config.to_toml().encode())


@contextmanager
def _intact(result: Path) -> Iterator[None]:
    """Says of a result that cannot be read how to get it again."""
    try:
        yield
    except RunError as e:
        raise FederationError(
            f"the result {result} is damaged or cannot be read; the server hands it out again with fedbbpt train "
            "--resume there"
        ) from e


def _last_checkpoint(result: Path) -> Progress:
    progress, damaged = checkpoint.load_last(result / "checkpoints")
    if progress is None or damaged:
        raise RunError(f"checkpoint {damaged[0]} has changed" if damaged else "it has no checkpoint")
    return progress


def _listed(backend: ComponentConfig) -> str:
    return " ".join([backend.name, *(f"{key}={value}" for key, value in backend.options.items())])


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
