"""Nodes without a server that are killed: `python -m fedbbpt_benchmarks.experiments.node_kills --out FOLDER`.

Sixteen sites of a real federation on this machine, each with a part of UCI's digits, gossip about a readout and a
prompt. In the middle of a run, all processes of four of them are killed (SIGKILL). The others go on; later the four are
started again. Beside it, a run that nobody disturbs. The table says who was missing when, how good the nodes are, and
how far they are apart in the end.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
import psutil

from fedbbpt.federation.demo_members import Members
from fedbbpt.federation.kits import Federation
from fedbbpt.federation.loopback import site_names, start_federation, write_images
from fedbbpt.federation.watcher import MARK
from fedbbpt.printing import print_table
from fedbbpt.run.metrics import read_metrics

OPTIONS = {
    "algorithm.name": "gossip",
    "evaluate_every": 2,
    "data.shots_per_class": 3,
    "data.validation_shots_per_class": 1,
    "data.test_limit": 40,
}
LIMIT, POLL = 900.0, 0.2  # seconds


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder, which is made.")
@click.option("--sites", default=16, show_default=True)
@click.option("--killed", default=4, show_default=True)
@click.option("--topology", default="ring", show_default=True)
@click.option("--rounds", default=24, show_default=True)
@click.option("--at", default=(6, 12), type=(int, int), show_default=True, help="Rounds: killed, and started again.")
def main(out: Path, sites: int, killed: int, topology: str, rounds: int, at: tuple[int, int]) -> None:
    """A run with kills beside one without."""
    out.mkdir(parents=True)
    names = site_names(sites)
    write_images(out / "data", names)
    options = OPTIONS | {"algorithm.topology": topology, "rounds": rounds}
    with ExitStack() as stack:
        members = stack.enter_context(Members(out / "logs", click.echo))
        federation = start_federation(out, names, members, threads=1, backend=None)
        commands = dict(zip(members.names.values(), members.commands, strict=True))
        _finish(_train(federation, options, out / "whole"))
        run = _train(federation, options, out / "run")
        _wait(lambda: _rounds(out / "run") > at[0], run)
        victims = names[:: sites // killed][:killed]
        hit = [kill(federation, site) for site in victims]
        click.echo(f"killed {', '.join(victims)}: {sum(hit)} processes")
        _wait(lambda: _rounds(out / "run") > at[1], run)
        for site in victims:
            words = commands[site].split()
            members.start(site, *words[1:], OMP_NUM_THREADS="1", FEDBBPT_CACHE=str(out.absolute() / "caches" / site))
        _finish(run)
    rows = [[name, *summary(out / name, victims)] for name in ("whole", "run")]
    print_table(rows, "run", "own", "mean of nodes", "distance", "the killed", "the others", "missing", headed=True)


def kill(federation: Federation, site: str) -> int:
    """Kills all processes of a site (SIGKILL), its watcher first; returns how many there were."""
    kit, found = str((federation.folder / "sites" / site).absolute()), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            watches = kit in map(str, map(Path.absolute, map(Path, process.cmdline())))
            if watches or process.environ().get(MARK) == kit:
                found.append((not watches, process))
    for _, process in sorted(found, key=lambda one: one[0]):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    return len(found)


def summary(run: Path, victims: list[str]) -> list[str]:
    """A row of the table."""
    found: Mapping[str, Any] = json.loads((run / "summary.json").read_text("utf-8"))
    rows = list(read_metrics(run / "metrics.jsonl"))
    accuracy = {site: one["test_accuracy"] for site, one in found["clients"].items()}
    halves = [[accuracy[site] for site in accuracy if (site in victims) == killed] for killed in (True, False)]
    missing = [f"{row['round']}: {len(row['dropped_clients'])}" for row in rows if "dropped_clients" in row]
    nodes = found["nodes"]
    means = [sum(half) / len(half) for half in halves]
    numbers = [found["test_accuracy"], nodes["mean_accuracy"], nodes["consensus_distance"], *means]
    return [*(f"{number:.3f}" for number in numbers), ", ".join(missing)]


def _train(federation: Federation, options: Mapping[str, Any], out: Path) -> "subprocess.Popen[bytes]":
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    command = ["train", "--federation", str(federation.folder), "--min-sites", "1", *words, "--out", str(out)]
    with out.with_suffix(".txt").open("wb") as said:
        return subprocess.Popen([sys.executable, "-u", "-m", "fedbbpt", *command], stdout=said, stderr=said)


def _rounds(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _wait(done: Callable[[], bool], run: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + LIMIT
    while not done():
        if run.poll() is not None or time.monotonic() > deadline:
            raise click.ClickException("the run has ended early, or does not go on; its log says more")
        time.sleep(POLL)


def _finish(run: "subprocess.Popen[bytes]") -> None:
    if run.wait(LIMIT):
        raise click.ClickException("the run has failed; its log says why")


if __name__ == "__main__":
    main()
