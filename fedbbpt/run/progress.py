"""What a run shows while it works: a bar in a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fedbbpt.data import remarks
from fedbbpt.printing import one_line
from fedbbpt.run.train import Watch
from fedbbpt.run.units import money, size


@contextmanager
def watching() -> Iterator[Watch]:
    """A function to watch a run with; ends tidily on errors and Ctrl-C."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[facts]}"), TimeRemainingColumn())
    with Progress(TextColumn("round"), *columns, console=console) as progress:
        yield Bar(console, progress)


class Lines:
    """A line a round."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """See `train.Watch`."""
        if event == "plan":
            self._rounds, self._done, self._before = facts["plan"].rounds, facts["done"], 0.0
            self._announce(facts)
        elif event == "round" and facts["split"] == "validation":
            self._round(facts)
        elif event == "note":
            self._console.print(facts["text"], markup=False)
        elif event == "summary":
            self._summary(facts)

    def _announce(self, facts: dict[str, Any]) -> None:
        session, planned = facts["session"], facts["plan"]
        config, info = session.config, session.backend.info
        sizes = session.sizes
        prompt, readout, search = config.prompt.name, config.readout.name, f"{config.optimizer.name}, "
        if session.white_box:
            prompt, readout, search = "soft tokens", "parts of the model", ""
        tuned = f"{prompt} ({sizes['prompt']}) + {readout} ({sizes['readout']})"
        self._say("task", f"{config.task.name}: {len(session.task.classes)} classes")
        for remark in remarks(session.task):
            self._say("note", remark)
        for name, text in session.dealt:
            self._say(name, text)
        self._say("model", f"{config.backend.name}: {info.model} ({', '.join(map(str, info.resolved.values()))})")
        self._say("tuned", f"{tuned} by {search}{config.algorithm.name}")
        total = planned.total
        self._say("plan", f"{planned.rounds} rounds, {total.queries:,} queries in {total.calls:,} calls")
        if planned.rounds < config.rounds:
            self._say("", f"{config.rounds} rounds were asked for; max_queries={config.max_queries} stops before more")
        if self._done:
            self._say("resumed", f"after round {self._done}")

    def _round(self, row: dict[str, Any]) -> None:
        if row["round"] == self._done:
            self._before = row["seconds"]
        elapsed = row["seconds"] - self._before
        left = self._rounds - row["round"]
        eta = f"   ETA {elapsed / max(1, row['round'] - self._done) * left:.0f} s" if row["round"] > self._done else ""
        self._console.print(f"round {row['round']:>4}/{self._rounds:<4} {describe(row)}{eta}")

    def _summary(self, s: dict[str, Any]) -> None:
        self._say("test accuracy", f"{s['test_accuracy']:.3f}  (kept: round {s['kept_round']}, by its validation loss)")
        self._say("ended", s["ended"])
        for name, key in (("zero-shot", "zero_shot_accuracy"), ("readout alone", "readout_alone_accuracy")):
            if s[key] is not None:
                self._say(name, f"{s[key]:.3f}")
        if s["queries_per_input"] > 1:
            self._say("prediction", f"{s['queries_per_input']} queries each")
        for wording in s["prompts"]:
            self._say("prompt", " ⏎ ".join(wording.splitlines()))
        traffic = f"{size(s['bytes_up'])} up, {size(s['bytes_down'])} down"
        if s["unmatched"]:
            self._say("unmatched", f"{s['unmatched']:,} answers name no class, and count as undecided")
        if s["unanswered"]:
            self._say("unanswered", f"{s['unanswered']:,} queries brought no scores, and count as wrong in tests")
        for words, count in s["refused"].items():
            self._say("refused", f"{count:,} inputs: {words}")
        if s["left_out"]:
            times = ", ".join(f"{client} ({count}×)" for client, count in sorted(s["left_out"].items()))
            self._say("left out", f"{times}: what they sent could not be used")
        if s["paid"]:
            self._say("paid for", spent(s["paid"]))
        self._say("cost", f"{s['queries']:,} queries in {s['calls']:,} calls, {traffic}, {s['seconds']:.0f} s")

    def _say(self, name: str, text: str) -> None:
        self._console.print(f"{name:15}{one_line(text)}", markup=False)


class Bar(Lines):
    """A progress bar by round."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(console)
        self._progress = progress
        self._task: TaskID | None = None

    def _announce(self, facts: dict[str, Any]) -> None:
        super()._announce(facts)
        self._task = self._progress.add_task("training", total=self._rounds, completed=self._done, facts="")

    def _round(self, row: dict[str, Any]) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=row["round"], facts=describe(row))


def describe(row: dict[str, Any]) -> str:
    """A round in one line."""
    evaluated = row["accuracy"] is not None
    scores = (
        f"accuracy {row['accuracy']:.3f}  loss {row['loss']:.3f}"
        if evaluated
        else f"training loss {row['train_loss']:.3f}"
    )
    asked = f"{row['queries']:,} queries" + (f" ({spent(row['paid'])})" if "paid" in row else "")
    return f"{scores}  {asked}  {size(row['bytes_up'])} up  {size(row['bytes_down'])} down"


def spent(paid: dict[str, Any]) -> str:
    """What a service has charged for; what was known already is not in it."""
    return f"paid: {paid['queries']:,} in {paid['calls']:,} calls, {paid['tokens']:,} tokens, {money(paid['cost'])}"
