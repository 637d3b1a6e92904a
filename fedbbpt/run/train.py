"""The run: rounds of a federated method over a session, with nothing lost whenever it stops."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedbbpt.algorithms import State
from fedbbpt.config import Config
from fedbbpt.errors import RunError
from fedbbpt.run import budget, checkpoint
from fedbbpt.run.again import reopen
from fedbbpt.run.atomic_files import remove_temporaries, write_atomic, write_json
from fedbbpt.run.callback import Callback
from fedbbpt.run.checkpoint import Progress, Totals
from fedbbpt.run.environment import add_result_checksums, write_environment
from fedbbpt.run.evaluate import Result, baselines, better, evaluate, remember, silence
from fedbbpt.run.exchange import CountedExchange, SoundExchange
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.metrics import MetricsWriter, count_rows, is_intact, read_metrics
from fedbbpt.run.opening import check_payable
from fedbbpt.run.plan import Plan, is_evaluated, plan
from fedbbpt.run.report import write_report
from fedbbpt.run.resume import check_unchanged, config_sha256, read_run, setting_changed_error
from fedbbpt.run.run_folder import check_new_run_folder
from fedbbpt.run.session import Session, open_session, prepared
from fedbbpt.run.stopping import stop_reason
from fedbbpt.run.summary import summarise
from fedbbpt.run.vocabulary import vocabulary_bytes
from fedbbpt.services.ledger import Account
from fedbbpt.types import Usage

NO_CALLBACK = Callback()


def train(config: Config, out: Path, callback: Callback = NO_CALLBACK) -> dict[str, Any]:
    """Trains from the start into a new folder; returns the summary.

    Raises:
        RunError: the folder holds a run already, or cannot be written.
    """
    with folder_lock(out):
        check_new_run_folder(out, config)
        account, session, planned = ready(config)
        session = prepared(session, account)
        if session.backend.service_client is not None:  # which now knows what that took
            session = replace(session, setup=session.backend.setup_usage)
            planned = plan(session)
        write_environment(out, session, account.run, config_sha256(session.config))
        write_atomic(out / "config.toml", session.config.to_toml().encode())
        return _Run(session, planned, out, callback, planned.setup.queries).go(None)


def resume(
    out: Path, callback: Callback = NO_CALLBACK, limits: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Goes on where the folder's last checkpoint is; the end is the same as that of an undisturbed run.

    Where a service is paid, `limits` (max_queries, max_requests, max_cost) take the place of the config's from now on,
    and do not change how many rounds there are.

    Raises:
        RunError: no run there, no whole checkpoint, or config or data have changed since.
    """
    read_run(out)  # before a lock is made where no run is
    with folder_lock(out):
        session = reopen(out, limits)
        planned, progress, damaged = ready_again(out, session, limits)
        for name in damaged:
            callback.on_message(f"checkpoint {name} is damaged; going on from the one before")
        checkpoints = out / "checkpoints"
        for folder in (out, checkpoints):
            remove_temporaries(folder)
        checkpoint.tidy(checkpoints, progress.state.round if progress else -1)
        asked = progress.totals.queries if progress else planned.setup.queries
        return _Run(session, planned, out, callback, asked).go(progress)


def ready(config: Config) -> tuple[Account, Session, Plan]:
    """A new run, after all that may be wrong with it before its first query; a dry run ends here."""
    account, session = budget.new_account(config), open_session(config)
    planned = plan(session)
    check_payable(session.backend, account)
    return account, session, planned


def ready_again(out: Path, session: Session, limits: Mapping[str, Any]) -> tuple[Plan, Progress | None, list[str]]:
    """What a run will have asked in the end, where it stands, and its damaged checkpoints, if it may go on."""
    for limit, value in limits.items():
        if session.backend.service_client is None and value != (ours := getattr(session.config, limit)):
            raise setting_changed_error(limit, ours, value)
    metrics = out / "metrics.jsonl"
    progress, damaged = checkpoint.load_last(
        out / "checkpoints", lambda progress: "" if is_intact(metrics, progress.metrics) else metrics.name
    )
    planned = plan(session)
    if progress is not None:
        check_unchanged(session, progress, out)
    elif count_rows(metrics) > 1:
        raise RunError(f"{out} has lost its checkpoints; restore them from a backup, or start a new run")
    return planned, progress, damaged


class _Run:
    """One pass through the rounds that are left."""

    def __init__(self, session: Session, planned: Plan, out: Path, callback: Callback, asked: int) -> None:
        self.session, self.plan, self.out, self.callback = session, planned, out, callback
        self.started = time.perf_counter()
        if client := session.backend.service_client:
            client.query_index = planned.setup.queries if session.from_memory else asked
        # Without a prompt the same inputs come again and again: each is asked about once. Answers to test
        # inputs stay unread until the end.
        self.memory = remember(session) if session.from_memory else None
        self.algorithm = session.algorithm(self.memory)

    def go(self, progress: Progress | None) -> dict[str, Any]:
        self.seconds_before = progress.totals.seconds if progress else 0.0
        done = progress.state.round if progress else 0
        self.callback.on_plan(self.plan, self.session, done)
        self.metrics = MetricsWriter(self.out / "metrics.jsonl", progress.metrics.size if progress else 0)
        with self.metrics, closing(self.session.engine):
            self.rows = read_metrics(self.out / "metrics.jsonl")
            if progress is None:
                progress = self._begin()
            while (ended := stop_reason(self.rows, self.plan, self.session.config)) is None:
                progress = self._round(progress)
            summary = self._finish(progress, ended)
        self.callback.on_summary(summary)
        return summary

    def _begin(self) -> Progress:
        state = self.algorithm.init()
        result = self._look(state, "validation")
        up, down = vocabulary_bytes(self.session.config, self.session.clients)
        usage = self.plan.setup + (result.usage if self.memory is None else self.memory.usage)
        totals = self._add(Totals(bytes_up=up, bytes_down=down), Usage(), result.bytes_up, result.bytes_down)
        totals = replace(totals, **usage._asdict())
        if 2 * totals.unparsed > totals.queries:
            hint = "-o backend.label_words and -o backend.template say how the model is asked for one"
            if self.session.backend.service_client:
                hint += ", and -o backend.max_answer_tokens=1000 lets it reason first"
            text = f"{totals.unparsed:,} of {totals.queries:,} answers name no class; {hint}"
            self.callback.on_message(text)
        best = better(result, state, None, self.algorithm.keeps)
        self._record(state.round, "validation", result, None, totals, True)
        return self._checkpoint(state, best, totals)

    def _round(self, progress: Progress) -> Progress:
        session, algorithm, state = self.session, self.algorithm, progress.state
        exchange = CountedExchange(session.engine, algorithm.sample(state, session.clients))
        sound = SoundExchange(exchange, algorithm)
        state, train_loss = algorithm.round(state, sound)
        self._leave_out(sound.out, f"round {state.round}")
        for client, how in exchange.missing.items():
            self.callback.on_message(f"{client} died in round {state.round} ({how}); its update is missing")
        totals = self._add(progress.totals, exchange.usage, exchange.bytes_up, exchange.bytes_down)
        if math.isnan(train_loss):
            raise silence(self.session, f"round {state.round}")
        result, best = None, progress.best
        if is_evaluated(state.round, session.config):
            result = self._look(state, "validation")
            totals = self._add(totals, result.usage, result.bytes_up, result.bytes_down)
            best = better(result, state, best, algorithm.keeps)
        is_best, dropped = best.round == state.round, sorted(exchange.missing)
        self._record(state.round, "validation", result, train_loss, totals, is_best, dropped, sound.out)
        return self._checkpoint(state, best, totals)

    def _finish(self, progress: Progress, ended: str) -> dict[str, Any]:
        """The only place that looks at test data."""
        memory = self.memory or remember(self.session)
        without = baselines(self.session, memory)
        totals = progress.totals if self.memory else self._add(progress.totals, memory.usage, 0, 0)
        best = progress.best
        result = self._look(State(best.round, best.parameters), "test")
        totals = self._add(totals, result.usage, result.bytes_up, result.bytes_down)
        self._record(best.round, "test", result, None, totals, True)
        left_out = Counter(client for row in self.rows for client in row.get("left_out", ()))
        done = progress.state.round
        took = self.plan if done == self.plan.rounds else plan(self._of_rounds(done))
        summary = summarise(self.session, took, best, result, without, totals, left_out) | {"ended": ended}
        write_json(self.out / "summary.json", summary)
        self.metrics.sync()
        add_result_checksums(self.out)
        write_report(self.out, self.session, State(best.round, best.parameters))
        return summary

    def _of_rounds(self, rounds: int) -> Session:
        return replace(self.session, config=self.session.config.model_copy(update={"rounds": rounds}))

    def _look(self, state: State, split: str) -> Result:
        result = evaluate(self.algorithm, state, self.session.clients, split, self.session.engine)
        if result.usage.queries and not result.confusion.any():
            raise silence(self.session, f"the {split} data")
        self._leave_out(result.out, f"the scores on the {split} data")
        return result

    def _leave_out(self, clients: Mapping[str, str], where: str) -> None:
        for client, why in clients.items():
            self.callback.on_message(f"{client} is left out of {where}: it {why}")

    def _add(self, totals: Totals, usage: Usage, up: int, down: int) -> Totals:
        t, seconds = totals, self.seconds_before + time.perf_counter() - self.started
        if self.memory is not None:
            usage = Usage()
        if not self.session.federated:
            up = down = 0
        asked = Usage(*(getattr(t, part) for part in Usage._fields)) + usage
        return Totals(*asked, t.bytes_up + up, t.bytes_down + down, seconds)

    def _record(
        self,
        round_: int,
        split: str,
        result: Result | None,
        train_loss: float | None,
        totals: Totals,
        is_best: bool,
        dropped: Sequence[str] = (),
        out: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        scores = {"accuracy": result.accuracy, "loss": result.loss} if result else {"accuracy": None, "loss": None}
        row = {
            "round": round_,
            "split": split,
            **scores,
            "train_loss": train_loss,
            "is_best": is_best,
            **asdict(totals),
        }
        row |= {"dropped_clients": dropped} if dropped else {}
        row |= {"left_out": left} if (left := {**out, **(result.out if result else {})}) else {}
        row |= {"billed": billed} if (billed := budget.billed(self.session)) else {}
        self.metrics.append(row)
        self.rows.append(row)
        self.callback.on_round(row)

    def _checkpoint(self, state: State, best: checkpoint.Best, totals: Totals) -> Progress:
        mark = self.metrics.sync()
        progress = Progress(state, best, totals, mark, config_sha256(self.session.config), self.session.data_sha256)
        checkpoint.save(self.out / "checkpoints", progress)
        return progress
