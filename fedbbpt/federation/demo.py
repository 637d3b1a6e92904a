"""A federation on this machine alone: real images at each site, a server, and each member in processes of its own."""

import os
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import tomli_w

from fedbbpt.data.digits import read
from fedbbpt.federation import jobs
from fedbbpt.federation.demo_members import Members
from fedbbpt.federation.kits import Federation, needs_nvflare
from fedbbpt.federation.nodes import server_state, sigterm_interrupts
from fedbbpt.federation.provisioning import LOOPBACK, create
from fedbbpt.run.atomic_files import write_atomic, write_json, writing
from fedbbpt.run.formatting import format_bytes
from fedbbpt.web.requests_adapter import configure_session, timeouts
from fedbbpt.web.route import Route

if TYPE_CHECKING:
    from fedbbpt.federation.footprint import Footprint

MODEL = ("serve", "--backend", "local-vit", "-o", "classifier=mnist")  # comes with the package, and reads digits
SETTINGS: dict[str, Any] = {  # few queries, and yet better than the model as it is
    "rounds": 2,
    "algorithm": {"num_prompts": 3},
    "data": {"shots_per_class": 3, "validation_shots_per_class": 1, "test_limit": 60},  # at each site
}
MAX_INPUTS_PER_REQUEST = 64
ANSWER_TIMEOUT = 30.0  # seconds

Tell = Callable[[str], None]  # takes a line for the user


def run_demo(folder: Path, sites: int, tell: Tell, *, served: bool) -> list[str]:
    """Makes a federation in a new folder, trains with it, and ends all of its processes.

    Args:
        folder: is left with the sites' images (`data`), the federation (`federation`), the trained run (`run`), what
            the processes said (`logs`), and what they took (`demo.json`).
        sites: how many.
        tell: shows a line.
        served: whether all sites ask one served model; else each loads its own.

    Returns: the commands that it ran, for whoever goes on by hand.

    Raises:
        FederationError: something does not work; a sentence says what.
        MissingExtra: a package is not installed.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; all processes have ended.
    """
    with needs_nvflare():
        from fedbbpt.federation.footprint import Footprint

    started = time.monotonic()
    names = [f"site-{number}" for number in range(1, sites + 1)]
    count = _write_images(folder / "data", names)
    tell(f"{'data':15}{count:,} handwritten digits in {folder / 'data'}, each at one of {sites} sites")
    with sigterm_interrupts(), Members(folder / "logs", tell) as members, Footprint(members.names) as footprint:
        federation = create("federation", names, port=_free_port(), out=folder)
        if served:
            members.start("model", *MODEL, "--port", _free_port(), OMP_NUM_THREADS=_cores_for(2))
        members.start("server", "federation", "up", federation.folder, "--foreground")
        backend = _served_model(folder, members) if served else ["local-vit", "-o", "backend.classifier=mnist"]
        for name in names:
            _join(folder, name, backend, members, OMP_NUM_THREADS=_cores_for(sites))
        members.wait_until(lambda: _joined(federation, names), "the sites have not joined")
        tell(f"{'joined':15}all sites, {time.monotonic() - started:.0f} s after the start")
        engine = {"name": "nvflare", "federation": str(federation.folder.absolute()), "min_sites": sites}
        jobs.train(federation, SETTINGS | {"engine": engine}, None, folder / "run", tell)
    _tell_costs(folder, footprint, time.monotonic() - started, tell)
    tell(f"{'report':15}{folder / 'run' / 'report.html'}")
    return [*members.commands, shlex.join(["fedbbpt", "train", "--federation", str(federation.folder)])]


def _tell_costs(folder: Path, footprint: "Footprint", seconds: float, tell: Tell) -> None:
    """Shows, and writes to `demo.json`, what the processes were and took."""
    peak, total = footprint.peak, footprint.total
    write_json(folder / "demo.json", {"seconds": seconds, "memory": total, "processes": list(map(asdict, peak))})
    for process in peak:
        tell(f"{process.member:15}{format_bytes(process.memory):>7}  {process.program} (process {process.pid})")
    tell(f"{'memory':15}{format_bytes(total):>7}  of these {len(peak)} processes together, at most; all have ended")
    tell(f"{'time':15}{seconds:>5.0f} s")


def _write_images(folder: Path, names: Sequence[str]) -> int:
    """Deals the images of UCI's digits to the sites, as folders of PNG files; returns how many there are."""
    images, labels = read()
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / names[i % len(names)] / str(label)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / f"{i:04d}.png")
    return len(images)


def _join(folder: Path, name: str, backend: Sequence[str], members: Members, **env: str) -> None:
    """Starts a site, with its own cache of answers."""
    kit, data = folder / "federation" / "sites" / name, f"folder:{folder / 'data' / name}"
    cache = str((folder / "caches" / name).absolute())
    members.start(name, "federation", "join", kit, "--data", data, "--backend", *backend, FEDBBPT_CACHE=cache, **env)


def _cores_for(processes: int) -> str:
    """How many cores each of so many processes may use."""
    return str(max(1, (os.cpu_count() or 1) // processes))


def _served_model(folder: Path, members: Members) -> list[str]:
    """Waits for the served model; returns the sites' options for it."""
    log, file = members.log("model"), folder / "model.toml"
    members.wait_until(lambda: log.read_text().startswith("http"), "the model is not served")
    write_atomic(file, tomli_w.dumps(_endpoint(log.read_text().split()[0])).encode())
    return ["http-json", "-o", f"backend.endpoint_file={file}"]


def _endpoint(url: str) -> dict[str, Any]:
    """The endpoint file of a served model that reads images."""
    with requests.Session() as session:
        configure_session(session, Route(url, "the served model"), 1)
        (card,) = session.get(f"{url}/v1/models", timeout=timeouts(ANSWER_TIMEOUT)).json()["data"]
    height, width = card["input_size"]
    return {
        "url": f"{url}/v1/classify",
        "modality": "image",
        "max_inputs_per_request": MAX_INPUTS_PER_REQUEST,
        "body": {"inputs": "{inputs}"},
        "scores": "scores",
        "kind": card["score_type"],
        "classes": card["classes"],
        "image": {"width": width, "height": height},
    }


def _joined(federation: Federation, names: Sequence[str]) -> bool:
    state = server_state(federation)
    return state is not None and state.sites.keys() >= set(names)


def _free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
