"""The server's half of a run over a federation: the same training loop as a simulation's, and no client's data."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fedbbpt.algorithms import Algorithm
from fedbbpt.backend import Backend
from fedbbpt.config import Config, make_config
from fedbbpt.config.components import load_class, resolve
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.data.ngrams import NgramCounts
from fedbbpt.errors import FederationError, RunError
from fedbbpt.federation.body import serving_body, with_body_at_server
from fedbbpt.federation.channel import Channel, Failure, to_all
from fedbbpt.federation.dtypes import check_algorithm_dtype
from fedbbpt.federation.enrolment import Introduction, Roll, agreed_classes, introductions, opened
from fedbbpt.federation.experiment import FILE, FederatedExperiment, FederatedRun
from fedbbpt.federation.messages import Request
from fedbbpt.federation.run_files import pack_files
from fedbbpt.run import budget, train
from fedbbpt.run.atomic_files import write_atomic
from fedbbpt.run.callback import Callback
from fedbbpt.run.environment import read_results
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.model import build_model, load_backend
from fedbbpt.run.opening import Sketch
from fedbbpt.run.query_budget import plan_queries
from fedbbpt.run.records import read_record, to_record
from fedbbpt.run.resume import read_run
from fedbbpt.run.run_folder import check_new_run_folder
from fedbbpt.run.saved_task import SavedTask, TaskInfo
from fedbbpt.run.vocabulary import needs_vocabulary, traffic_of, with_words_of
from fedbbpt.types import Traffic, Usage

OPENING_TIMEOUT = 600.0  # seconds for a site to open its data and its model
HAND_OUT_TIMEOUT = 60.0  # seconds for a site to take the result


def train_run(channel: Channel, settings: Mapping[str, Any], preset: str | None, out: Path, callback: Callback) -> None:
    """Trains a new run with the sites of a channel, and gives them the result.

    Args:
        channel: the way to the sites.
        settings: as `make_config` takes them, with the engine's and without task and backend, which the sites choose.
        preset: as `make_config` takes it.
        out: the folder of the run.
        callback: told of what happens.

    Raises:
        FederationError: the sites do not go together, or too few take part.
        RunError: the folder already holds a run, or cannot be written.
    """
    with folder_lock(out):
        roll = _roll(channel, _engine(settings), callback)
        found = introductions(roll)
        config = _config(found, channel.sites, settings, preset)
        check_new_run_folder(out, config)
        account = budget.new_account(config)
        classes = agreed_classes(found, config.engine.options["classes"])
        config, vocabulary = _with_words(roll, config, account.run, classes)
        config, sites = opened(roll, config, partial(_open_request, account.run, classes))
        invited = [] if _has_server(config) else [site for site in channel.sites if site not in sites]
        traffic = vocabulary.up, vocabulary.down
        record = FederatedRun(run=account.run, sites=sites, invited=invited, vocabulary=traffic)
        experiment = _experiment(config, classes, record, roll)
        planned = plan_queries(experiment)
        write_atomic(out / FILE, to_record(record.model_dump(mode="json")))
        _tell_who_is_away(roll)
        with serving_body(experiment.config, experiment.task, channel):
            train.begin(experiment, planned, account.run, out, callback)
        _hand_out(channel, record, out, callback)


def resume_run(channel: Channel, out: Path, callback: Callback) -> None:
    """Continues a run with the sites of a channel; sites that are away are missing from its rounds.

    Where there is no server, sites that were not there when the run began join it. The result of a finished run is only
    handed out again.

    Raises:
        FederationError: the sites do not go together, or too few take part.
        RunError: there is no run, or its config or a site's data have changed.
    """
    config, environment = read_run(out)
    with folder_lock(out):
        record = read_record(out / FILE, FederatedRun)
        if not _is_finished(out):
            record = _go_on(channel, config, tuple(environment.task.classes), record, out, callback)
        _hand_out(channel, record, out, callback)


def _go_on(
    channel: Channel, config: Config, classes: Sequence[str], record: FederatedRun, out: Path, callback: Callback
) -> FederatedRun:
    roll = _roll(channel, config.engine, callback)
    may_take_part = {*record.sites, *record.invited}
    roll.away |= {site: "it was not there when the run began" for site in channel.sites if site not in may_take_part}
    roll.away |= {site: "it has not joined" for site in may_take_part if site not in channel.sites}
    introductions(roll)
    _, sites = opened(roll, config, partial(_open_request, record.run, classes))
    for site, now in sites.items():
        if now != record.sites.get(site, now):
            raise RunError(f"the data or the model of {site} have changed since the run began; restore them there")
    if joining := [site for site in sites if site not in record.sites]:
        late = [*record.late, *joining]
        record = record.model_copy(update={"sites": {**sites, **record.sites}, "late": late})
        write_atomic(out / FILE, to_record(record.model_dump(mode="json")))
        callback.on_message(f"{', '.join(joining)} joined late")
    experiment = _experiment(config, classes, record, roll)
    _tell_who_is_away(roll)
    with serving_body(experiment.config, experiment.task, channel):
        train.go_on(experiment, out, callback)
    return record


def _roll(channel: Channel, engine: ComponentConfig, callback: Callback) -> Roll:
    """Nobody is away yet; opening data and model may take longer than a round."""
    deadline = max(OPENING_TIMEOUT, engine.options["deadline"])
    return Roll(channel, engine.options["min_sites"], deadline, {}, callback.on_message)


def _engine(settings: Mapping[str, Any]) -> ComponentConfig:
    """The engine of a run's settings, with its defaults."""
    options = dict(settings["engine"])
    return resolve("engines", options.pop("name"), options)


def _has_server(config: Config) -> bool:
    algorithm: type[Algorithm] = load_class("algorithms", config.algorithm.name)
    return algorithm.has_server


def _config(
    found: Mapping[str, Introduction], sites: Sequence[str], settings: Mapping[str, Any], preset: str | None
) -> Config:
    """The settings with the data and the backend that all sites have."""
    one = next(iter(found.values()))
    task = {"name": "at-sites", "modality": one.modality}
    settings = {**settings, "task": task, "backend": one.backend.table}
    config = make_config(settings, preset)
    clients = len(found) if _has_server(config) else len(sites)  # of which some join later; a site cannot count them
    config = make_config({**settings, "data": {**settings.get("data", {}), "clients": clients}}, preset)
    check_algorithm_dtype(config)
    return with_body_at_server(config)


def _with_words(roll: Roll, config: Config, run: str, classes: Sequence[str]) -> tuple[Config, Traffic]:
    """The config with the words that the prompt learns from the sites' texts, where it needs some."""
    if not needs_vocabulary(config):
        return config, Traffic()
    answers = roll.ask(Request("words", _job(run, config, classes)))
    counts = []
    for site, answer in answers.items():
        try:
            counts.append(NgramCounts.from_bytes(answer.content))
        except ValueError as e:
            raise FederationError(f"the counts of words of {site} cannot be read: {e}") from e
    config = with_words_of(counts, config)
    return config, traffic_of(counts, config.prompt.options["vocabulary"])


def _job(run: str, config: Config, classes: Sequence[str]) -> dict[str, Any]:
    return {"run": run, "config": config.to_toml(), "classes": list(classes)}


def _open_request(run: str, classes: Sequence[str], config: Config) -> Request:
    return Request("open", _job(run, config, classes))


def _experiment(config: Config, classes: Sequence[str], record: FederatedRun, roll: Roll) -> FederatedExperiment:
    modality = config.task.options["modality"]
    known = TaskInfo(
        modality=modality, source=None, classes=list(classes), head=None, shots=False, question="", label_words=None
    )
    task = SavedTask(known, b"")
    backend: Backend = Sketch(next(iter(record.sites.values())).info)
    if load_class("algorithms", config.algorithm.name).access == "white-box":  # the server runs a part of the model
        backend = load_backend(config, task, task.provider)
    model = build_model(config, task, backend)
    setup = sum((Usage(*one.setup) for one in record.sites.values()), Usage())
    parts = (model.config, model.task, model.backend, model.prompt, model.readout)
    return FederatedExperiment(*parts, record, roll, setup, _description(record))


def _description(record: FederatedRun) -> list[tuple[str, str]]:
    """The data of the sites, for people."""
    lines = []
    for site, one in sorted(record.sites.items()):
        train, validation, test = (sum(counts) for counts in one.examples)
        lines.append((site, f"{train:,} for training, {validation:,} for validation, {test:,} for the test"))
    return lines


def _tell_who_is_away(roll: Roll) -> None:
    for site, why in sorted(roll.away.items()):
        roll.tell(f"{site} takes no part: {why}")


def _is_finished(out: Path) -> bool:
    try:
        read_results(out)
    except RunError:  # not yet, or what was written has changed
        return False
    return (out / "report.html").exists()  # which is written last


def _hand_out(channel: Channel, record: FederatedRun, out: Path, callback: Callback) -> None:
    """Gives the finished run to its sites, and says who has it."""
    request = Request("result", {"run": record.run}, pack_files(out))
    given = []
    for site, response in channel.request(to_all(request, sorted(record.sites)), HAND_OUT_TIMEOUT).items():
        if isinstance(response, Failure) or response.kind != "ok":
            callback.on_message(
                f"{site} has not got the result ({response.reason}); fedbbpt train --resume {out} hands it out again"
            )
        else:
            given.append(site)
    if given:
        callback.on_message(f"{', '.join(given)} can take the result with fedbbpt federation fetch")
