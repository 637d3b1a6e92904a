"""A federation on this machine alone: a server, and sites that hold real images, each in processes of its own."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
import tomli_w

from fedbbpt.data.digits import read
from fedbbpt.federation.demo_members import Members
from fedbbpt.federation.kits import Federation
from fedbbpt.federation.nodes import server_state
from fedbbpt.federation.provisioning import LOOPBACK, create
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.web.requests_adapter import configure_session, timeouts
from fedbbpt.web.route import Route

OWN_MODEL = ("local-vit", "-o", "backend.classifier=mnist")  # comes with the package, and reads digits
SERVED_MODEL = ("serve", "--backend", "local-vit", "-o", "classifier=mnist")
MAX_INPUTS_PER_REQUEST = 64
ANSWER_TIMEOUT = 30.0  # seconds


def write_images(folder: Path, names: Sequence[str]) -> int:
    """Deals the images of UCI's digits to the sites, as folders of PNG files; returns how many there are."""
    images, labels = read()
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / names[i % len(names)] / str(label)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / f"{i:04d}.png")
    return len(images)


def start_federation(
    folder: Path, names: Sequence[str], members: Members, *, threads: int, backend: Sequence[str] | None
) -> Federation:
    """Makes a federation in a folder, and starts it; returns once all sites have joined.

    Args:
        folder: holds each site's images in `data`.
        names: of the sites.
        members: takes the processes, and ends them.
        threads: with which each site computes.
        backend: each site's own, and its options; None if all sites ask one served model.

    Raises:
        FederationError: a process has ended early, or does not start.
        MissingExtra: a package is not installed.
    """
    federation = create("federation", names, port=_free_port(), out=folder)
    if backend is None:
        members.start("model", *SERVED_MODEL, "--port", _free_port(), OMP_NUM_THREADS=str(cores_for(2)))
    members.start("server", "federation", "up", federation.folder, "--foreground")
    if backend is None:
        backend = _served_model(folder, members)
    for name in names:
        _join(folder, name, backend, members, OMP_NUM_THREADS=str(threads))
    members.wait_until(lambda: _joined(federation, names), "the sites have not joined")
    return federation


def engine_of(federation: Federation) -> dict[str, Any]:
    """The engine's settings for a run that needs all sites of a federation."""
    sites = len(federation.description.sites)
    return {"name": "nvflare", "federation": str(federation.folder.absolute()), "min_sites": sites}


def site_names(sites: int) -> list[str]:
    """The names of so many sites."""
    return [f"site-{number}" for number in range(1, sites + 1)]


def cores_for(processes: int) -> int:
    """How many cores each of so many processes may use."""
    return max(1, (os.cpu_count() or 1) // processes)


def _join(folder: Path, name: str, backend: Sequence[str], members: Members, **env: str) -> None:
    """Starts a site, with its own cache of answers."""
    kit, data = folder / "federation" / "sites" / name, f"folder:{folder / 'data' / name}"
    cache = str((folder / "caches" / name).absolute())
    members.start(name, "federation", "join", kit, "--data", data, "--backend", *backend, FEDBBPT_CACHE=cache, **env)


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
