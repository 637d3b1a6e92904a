"""What a run shows while it works: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedbbpt.printing import one_line
from fedbbpt.run.callback import Callback
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.formatting import format_bytes, format_cost
from fedbbpt.run.query_budget import QueryPlan

SPEED_PERIOD = 3600.0  # seconds over which the time that is left is estimated: a request may take minutes


@contextmanager
def progress_reporter() -> Iterator[Callback]:
    """A callback that prints to standard output; leaves the terminal tidy after errors and Ctrl-C."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, force_jupyter=False)
    if not console.is_terminal:
        yield LineReporter(console)
        return
    columns = (BarColumn(), TextColumn("{task.fields[scores]}"), TimeRemainingColumn())
    rounds = TextColumn("round {task.fields[round]}/{task.fields[rounds]}")
    with Progress(rounds, *columns, console=console, speed_estimate_period=SPEED_PERIOD) as progress:
        yield BarReporter(console, progress)


class LineReporter(Callback):
    """Prints one line per round."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        """Prints what is trained, on which data, and what it will take."""
        self._rounds, self._done, self._began = plan.rounds, rounds_done, time.monotonic()
        config, info = experiment.config, experiment.backend.info
        sizes = experiment.algorithm.parameter_counts(config.rounds)
        prompt, readout, search = config.prompt.name, config.readout.name, f"{config.optimizer.name}, "
        if experiment.algorithm.access == "white-box":
            prompt, readout, search = "soft tokens", "parts of the model", ""
        tuned = f"{prompt} ({sizes['prompt']}) + {readout} ({sizes['readout']})"
        self._say("task", f"{config.task.name}: {len(experiment.task.classes)} classes")
        for remark in experiment.task.remarks:
            self._say("note", remark)
        for name, text in experiment.data_description:
            self._say(name, text)
        self._say("model", f"{config.backend.name}: {info.model} ({', '.join(map(str, info.resolved.values()))})")
        self._say("tuned", f"{tuned} by {search}{config.algorithm.name}")
        total = plan.total
        asked = f"{total.queries:,} queries in {total.requests:,} requests"
        self._say("plan", f"{plan.rounds} rounds, {asked}, at most {plan.most_exchanges:,} exchanges")
        if plan.rounds < config.rounds:
            self._say("", f"{config.rounds} rounds were asked for; max_queries={config.max_queries} stops before more")
        if self._done:
            self._say("resumed", f"after round {self._done}")

    def on_round(self, row: Mapping[str, Any]) -> None:
        """Prints the validation scores of a round, what it has cost, and the time that is left."""
        if row["subset"] == "validation":
            self._show(row)

    def on_message(self, text: str) -> None:
        """Prints the sentence."""
        self._console.print(text, markup=False)

    def _show(self, row: Mapping[str, Any]) -> None:
        eta = ""
        if done := row["round"] - self._done:
            each = (time.monotonic() - self._began) / done
            eta = f"   ETA {each * (self._rounds - row['round']):.0f} s"
        else:
            self._began = time.monotonic()  # the rounds begin now
        self._console.print(f"round {row['round']:>4}/{self._rounds:<4} {describe(row)}{eta}")

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        """Prints the results and the cost."""
        s = summary
        best = f"best checkpoint: round {s['best_round']}"
        kept = best if s["best_round"] or not s["rounds"] else "the start: no round was shown to be better"
        self._say("test accuracy", f"{s['test_accuracy']:.3f}  ({kept})")
        if nodes := s.get("nodes"):
            if "mean_accuracy" in nodes:
                self._say("mean of nodes", f"{nodes['mean_accuracy']:.3f}  (above: each node with its own parameters)")
            width = f"{nodes['hops']} hops" if "hops" in nodes else f"λ = {nodes['contraction']:.3f}"
            sent = f"{format_bytes(nodes['bytes_per_link'])} over each link"
            self._say("topology", f"{nodes['topology']}: {len(nodes['links'])} links, {width}, {sent}")
        self._say("ended", s["ended"])
        for name, key in (("zero-shot", "zero_shot_accuracy"), ("readout alone", "readout_alone_accuracy")):
            if s[key] is not None:
                self._say(name, f"{s[key]:.3f}")
        if s["queries_per_input"] > 1:
            self._say("prediction", f"{s['queries_per_input']} queries each{_worth(s)}")
        for wording in s["prompts"]:
            self._say("prompt", " ⏎ ".join(wording.splitlines()))
        sent = f"{format_bytes(s['bytes_up'])} up, {format_bytes(s['bytes_down'])} down"
        traffic = f"{s['exchanges']:,} exchanges, {sent}"
        if s["unparsed"]:
            self._say("unparsed", f"{s['unparsed']:,} answers name no class, and count as undecided")
        if s["unanswered"]:
            self._say("unanswered", f"{s['unanswered']:,} queries brought no scores, and count as wrong in tests")
        for words, count in s["refused"].items():
            self._say("refused", f"{count:,} inputs: {words}")
        if s["left_out"]:
            times = ", ".join(f"{client} ({count}×)" for client, count in sorted(s["left_out"].items()))
            self._say("left out", f"{times}: what they sent could not be used")
        if s["billed"]:
            self._say("billed", describe_bill(s["billed"]))
        self._say("cost", f"{s['queries']:,} queries in {s['requests']:,} requests, {traffic}, {s['seconds']:.0f} s")

    def _say(self, name: str, text: str) -> None:
        self._console.print(f"{name:15}{one_line(text)}", markup=False)


def _worth(summary: Mapping[str, Any]) -> str:
    """What several queries per prediction bring, where the readout alone was scored."""
    if (alone := summary["readout_alone_accuracy"]) is None:
        return ""
    return f", for {100 * (summary['test_accuracy'] - alone):+.1f} points beside the readout alone, which takes one"


class BarReporter(LineReporter):
    """Shows a progress bar in place of the lines of the rounds: the run's queries so far, of those planned."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(console)
        self._progress = progress
        self._task: TaskID | None = None

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        """Also starts the bar."""
        super().on_plan(plan, experiment, rounds_done)
        shown: dict[str, Any] = {"round": self._done, "rounds": self._rounds, "scores": ""}
        self._task = self._progress.add_task("training", total=plan.total.queries, **shown)

    def on_queries(self, queries: int) -> None:
        """Moves the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=queries)

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        """Also fills the bar: a run that ended early asked less than was planned."""
        if self._task is not None:
            self._progress.update(self._task, total=summary["queries"], completed=summary["queries"])
        super().on_summary(summary)

    def _show(self, row: Mapping[str, Any]) -> None:
        if self._task is not None:
            self._progress.update(self._task, round=row["round"], scores=describe(row))


def describe(row: Mapping[str, Any]) -> str:
    """A round in one line."""
    evaluated = row["accuracy"] is not None
    scores = (
        f"validation accuracy {row['accuracy']:.3f}  loss {row['loss']:.3f}"
        if evaluated
        else f"training loss {row['train_loss']:.3f}"
    )
    asked = f"{row['queries']:,} queries" + (f" ({describe_bill(row['billed'])})" if "billed" in row else "")
    return f"{scores}  {asked}  {format_bytes(row['bytes_up'])} up  {format_bytes(row['bytes_down'])} down"


def describe_bill(bill: Mapping[str, Any]) -> str:
    """What a service has billed, which leaves out cached answers, in one line."""
    asked = f"{bill['queries']:,} in {bill['requests']:,} requests"
    return f"billed: {asked}, {bill['tokens']:,} tokens, {format_cost(bill['cost'])}"
