"""`fedbbpt train --federation FOLDER`: a run at the sites of a federation, new or resumed."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.settings import settings_of
from fedbbpt.errors import ConfigError


def federation_of(settings: Mapping[str, Any]) -> Path | None:
    """The folder of the federation at which a run with these settings trains; None if it is a simulation.

    Raises:
        ConfigError: --engine nvflare without a federation.
    """
    engine = settings.get("engine")
    if not isinstance(engine, dict) or engine.get("name") != "nvflare":
        return None
    if not isinstance(engine.get("federation"), str):
        raise ConfigError("--engine nvflare trains at the sites of a federation: say which with --federation FOLDER")
    return Path(engine["federation"]).absolute()


def train_at_sites(
    folder: Path,
    settings: Mapping[str, Any],
    given: Mapping[str, Any],
    out: Path | None,
    resume: Path | None,
    *,
    dry_run: bool,
) -> None:
    """Submits a run to a federation's server, and shows its progress until it is finished.

    Args:
        folder: that of the federation.
        settings: those of a new run.
        given: the options of `fedbbpt train`, by parameter name.
        out: the folder of a new run.
        resume: the folder of a run that is resumed.
        dry_run: whether only the cost was asked for.

    Raises:
        ConfigError: an option does not go with a run at sites.
        FederationError: the run stopped, or the server cannot be reached.
        RunError: there is no run to resume, or an option differs from its settings.
    """
    from fedbbpt.federation import jobs
    from fedbbpt.federation.kits import Federation
    from fedbbpt.run.atomic_files import new_folder

    if resume:
        _check_settings_unchanged(resume, folder, given)
    federation = Federation.open(folder)
    if dry_run:
        raise ConfigError("what a run at sites costs is known once they have joined; leave out --dry-run")
    if others := [name for name in ("task", "backend") if given[name] is not None]:
        raise ConfigError(f"each site chooses its own --{others[0]} when it joins; leave it out")
    place = nullcontext(resume) if resume else new_folder(out, Path("runs"), federation.name)
    with place as run:
        try:
            if resume:
                jobs.resume(federation, run, click.echo)
            else:
                engine = {**settings["engine"], "federation": str(folder)}
                jobs.train(federation, {**settings, "engine": engine}, given["preset"], run, click.echo)
        except KeyboardInterrupt:
            click.echo(f"\nStopped; nothing is lost. Continue with: fedbbpt train --resume {run}", err=True)
            raise SystemExit(130) from None
    click.echo(f"{'report':15}{run / 'report.html'}")


def _check_settings_unchanged(run: Path, federation: Path, given: Mapping[str, Any]) -> None:
    """Raises RunError if an option differs from the settings of a run; the limits of sites are in their policies."""
    from fedbbpt.config import make_config
    from fedbbpt.run.resume import check_settings_unchanged, read_run

    ours, _ = read_run(run)
    asked = settings_of(given, ours.to_settings())
    if Path(asked["engine"]["federation"]).absolute() == federation:
        asked["engine"]["federation"] = str(federation)
    check_settings_unchanged(ours, make_config(asked))
