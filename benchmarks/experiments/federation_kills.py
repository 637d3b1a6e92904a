"""What a kill costs a federation: `python -m fedbbpt_benchmarks.experiments.federation_kills --out FOLDER`.

A server and three sites on this machine, each with a service of its own that it pays. Again and again a run trains, and
one of the processes is killed (SIGKILL) at a random moment. In the end the parameters are those of a simulation, or,
where a round may go on without a site (`--min-sites`), the run says whose update is missing, and its records are whole;
and each site's ledger holds what its service was paid for: as answered, or, where a process died before the answer came
and nobody asks again, as sent.
"""

import json
import random
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from safetensors.numpy import load_file

from fedbbpt.printing import print_table
from fedbbpt.run.environment import read_results
from fedbbpt_benchmarks.experiments.loopback_federation import SITES, LoopbackFederation, loopback_federation

ROUNDS = 6
OPTIONS = {
    "rounds": ROUNDS,
    "data.shots_per_class": 4,
    "data.validation_shots_per_class": 3,
    "data.test_limit": 12,
    "algorithm.name": "ensemble",
    "algorithm.num_prompts": 6,
    "optimizer.population_size": 3,
    "prompt.name": "instruction",
    "readout.l2": 0.05,
}
SETTINGS = [word for key, value in OPTIONS.items() for word in ("-o", f"{key}={value}")]
# What is killed, and of whom; "all" are all processes of a site at once, whose operator starts it again.
TARGETS = ("worker", "job", "all", "server's job", "server's parent", "fedbbpt train")
IN_ROUNDS = 0.7  # share of the kills; the others hit a run that has not begun yet
ROUND = 1.5  # seconds that a round takes, about
AWAY = 5.0  # seconds until a site that was killed is started again
LIMIT = 600.0  # seconds for a run
POLL = 0.05  # seconds


class Outcome(NamedTuple):
    """What came of a kill."""

    target: str
    site: str
    hit: int  # processes
    moment: float  # seconds after `fedbbpt train` was started
    took: float  # seconds until the run was finished
    commands: int  # how often fedbbpt train had to be called
    parameters: str  # "the same", or "finite" where an update is missing, or what is wrong
    missing: list[str]  # the sites whose updates are missing in some round
    accuracy: float  # on the test data, 36 texts
    charged: int  # requests that the services were paid for
    again: int  # requests that came again, since the answer before was lost with a process; they cost nothing
    in_flight: int  # requests that were paid for, and whose answer was lost with a process for good
    ledger: str  # "equal", or what is wrong


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder; what is in it is not done again.")
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--port", default=23700, show_default=True)
@click.option("--takes", default=0.03, show_default=True, help="Seconds that a service takes for an answer.")
@click.option("--min-sites", default=len(SITES), show_default=True, help="Without which a round does not go on.")
def main(out: Path, kills: int, seed: int, port: int, takes: float, min_sites: int) -> None:
    """A federation whose processes are killed: the same parameters, and nothing is paid twice."""
    log, started = out / "kills.jsonl", out / "federation"
    done = [Outcome(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    shutil.rmtree(started, ignore_errors=True)
    started.mkdir(parents=True)
    with loopback_federation(started, port, takes) as federation:
        simulated = started / "simulation"
        arguments = [*federation.simulation(), *SETTINGS, "--out", str(simulated)]
        federation.train(arguments, started / "simulation.txt").wait()
        whole = Trial(federation, "whole", min_sites)
        opening = whole.wait_for_round(0)
        undisturbed = whole.finish()
        click.echo(f"undisturbed: {undisturbed:.0f} s, parameters: {whole.parameters(simulated)}, {whole.ledger()[1]}")
        for number in range(len(done), kills):
            rng = random.Random(f"{seed} {number}")
            target, site = TARGETS[number % len(TARGETS)], rng.choice(SITES)
            begun = rng.random() < IN_ROUNDS
            federation.wait_for_sites()  # what was killed before is there again
            after, delay = (rng.randrange(ROUNDS), rng.uniform(0, ROUND)) if begun else (None, rng.uniform(0, opening))
            trial = Trial(federation, f"kill-{number:02d}", min_sites)
            outcome = trial.killed(target, site, after, delay, simulated)
            done.append(outcome)
            with log.open("a") as file:
                print(json.dumps(outcome._asdict()), file=file)
            click.echo(" ".join(map(str, outcome)))
    rows = [[str(value) for value in one] for one in done]
    print_table(rows, *Outcome._fields, headed=True)


class Trial:
    """One run at the sites, which have never asked their services anything before."""

    def __init__(self, federation: LoopbackFederation, name: str, min_sites: int) -> None:
        self.federation, self.min_sites = federation, min_sites
        self.run, self.log = federation.root / name, federation.root / f"{name}.txt"
        self.commands, self.started = 0, time.monotonic()
        for site, service in federation.services.items():
            service.forget()
            shutil.rmtree(federation.cache(site), ignore_errors=True)
        self.process = self._train()

    def wait_for_round(self, round_: int) -> float:
        """Waits until a round is over; returns the seconds since `fedbbpt train` was started."""
        metrics = self.run / "metrics.jsonl"
        while self.process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") > round_):
            time.sleep(POLL)
        return time.monotonic() - self.started

    def killed(self, target: str, site: str, after: int | None, delay: float, simulated: Path) -> Outcome:
        """Kills something so many seconds after the start, or after a round, and lets the run go on."""
        if after is not None:
            self.wait_for_round(after)
        time.sleep(delay)
        while not (hit := self._kill(target, site)) and self.process.poll() is None:
            time.sleep(POLL)
        moment = time.monotonic() - self.started
        if target == "all":
            time.sleep(AWAY)
            self.federation.join(site)
        took = self.finish()
        whose = site if target in ("worker", "job", "all") else ""
        summary, _ = read_results(self.run)
        in_flight, ledger = self.ledger()
        services = self.federation.services.values()
        charged, asked = sum(len(one.charged) for one in services), sum(one.requests for one in services)
        return Outcome(
            target=target,
            site=whose,
            hit=hit,
            moment=round(moment, 1),
            took=round(took, 1),
            commands=self.commands,
            parameters=self.parameters(simulated),
            missing=self.missing(),
            accuracy=round(summary["test_accuracy"], 3),
            charged=charged,
            again=asked - charged,
            in_flight=in_flight,
            ledger=ledger,
        )

    def finish(self) -> float:
        """Waits for the run, and continues it where it stopped; returns the seconds since its start."""
        while self.process.wait(LIMIT):
            if time.monotonic() > self.started + LIMIT:
                raise TimeoutError(f"{self.log} does not end")
            self.process = self._train()
        return time.monotonic() - self.started

    def parameters(self, simulated: Path) -> str:
        """Whether those after the last round are those of the simulation."""
        ours, theirs = (max((run / "checkpoints").glob("*.safetensors")) for run in (self.run, simulated))
        if ours.name == theirs.name and ours.read_bytes() == theirs.read_bytes():
            return "the same"
        finite = all(np.isfinite(array).all() for array in load_file(ours).values() if array.dtype.kind == "f")
        return ("finite" if self.missing() else "others") if finite else "not finite"

    def missing(self) -> list[str]:
        """The sites that take no part, or whose updates are missing in some round."""
        sites = json.loads((self.run / "federation.json").read_text())["sites"]
        rows = [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]
        return sorted({s for row in rows for s in row.get("dropped_clients", ())} | (set(SITES) - set(sites)))

    def ledger(self) -> tuple[int, str]:
        """How many requests were paid for without an answer, and whether the sites' ledgers hold what was paid for."""
        in_flight = 0
        for site, service in self.federation.services.items():
            answered, sent = (
                _keys(self.federation.cache(site), *states) for states in (("answered",), ("sent", "lost"))
            )
            unanswered = service.charged.keys() - set(answered)
            if len(answered) + len(unanswered) != len(service.charged) or not unanswered <= set(sent):
                return in_flight, f"{site}: {len(answered)} and {len(sent)}, and {len(service.charged)} charged"
            in_flight += len(unanswered)
        return in_flight, "equal"

    def _kill(self, target: str, site: str) -> int:
        if target == "fedbbpt train":
            self.process.kill()
            return 1
        member, kind = ("server", target.removeprefix("server's ")) if "server" in target else (site, target)
        return self.federation.kill(member, kind)

    def _train(self) -> "subprocess.Popen[bytes]":
        """`fedbbpt train`, from its start or from where it was."""
        self.commands += 1
        resumed = (self.run / "config.toml").exists()
        new = [*self.federation.settings(), "--min-sites", str(self.min_sites), *SETTINGS, "--out"]
        arguments = ["--resume"] if resumed else new
        return self.federation.train([*arguments, str(self.run)], self.log)


def _keys(cache: Path, *states: str) -> list[str]:
    """The keys of the requests that a site's ledger holds in these states."""
    if not (path := cache / "answers.sqlite").exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT key, state FROM requests").fetchall()
    return [key for key, state in rows if state in states]


if __name__ == "__main__":
    main()
