"""The training loop: rounds of an algorithm over the clients of an experiment, each committed by a checkpoint."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fedbbpt.algorithms import ClientSizes, ServerState
from fedbbpt.run import budget, checkpoint
from fedbbpt.run.atomic_files import write_json
from fedbbpt.run.callback import Callback
from fedbbpt.run.checkpoint import Progress, Totals
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.environment import add_result_checksums
from fedbbpt.run.evaluate import Result, baselines, evaluate, no_answers_error, select_best
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.metrics import MetricsWriter, read_metrics
from fedbbpt.run.query_budget import QueryPlan, plan_queries
from fedbbpt.run.report.page import write_report
from fedbbpt.run.resume import config_sha256
from fedbbpt.run.stopping import stop_reason
from fedbbpt.run.summary import summarise
from fedbbpt.run.tested import keep_tested
from fedbbpt.types import Subset, Usage


class TrainingLoop:
    """One pass through the rounds that are left of a run. Each round ends with a checkpoint."""

    def __init__(
        self, experiment: Experiment, planned: QueryPlan, out: Path, callback: Callback, queries_before: int
    ) -> None:
        self.experiment, self.plan, self.out, self.callback = experiment, planned, out, callback
        self.started, self.asked = time.perf_counter(), queries_before
        if client := experiment.backend.service_client:
            client.query_index = queries_before
        self.algorithm, self.clients = experiment.algorithm, experiment.client_sizes
        self.participants = experiment.open_clients(checkpoint.clients_of(out / "checkpoints"))
        self.engine = self.participants.engine
        self.engine.on_queries = self._count

    def run(self, progress: Progress | None) -> dict[str, Any]:
        """Goes on from a checkpoint, or from the start; returns the summary."""
        self.seconds_before = progress.totals.seconds if progress else 0.0
        done = progress.state.round if progress else 0
        self.callback.on_plan(self.plan, self.experiment, done)
        self._count(0)
        self.metrics = MetricsWriter(self.out / "metrics.jsonl", progress.metrics.size if progress else 0)
        with self.metrics, closing(self.engine):
            if progress:
                self.participants.restore(done, progress.clients)
            self.rows = read_metrics(self.out / "metrics.jsonl")
            if progress is None:
                progress = self._begin()
            while (ended := self._ended()) is None:
                progress = self._round(progress)
            summary = self._finish(progress, ended)
        self.callback.on_summary(summary)
        return summary

    def _begin(self) -> Progress:
        state = self.algorithm.init()
        result = self._evaluate(state, "validation")
        up, down = self.experiment.vocabulary_traffic
        before = Totals(**self.plan.setup._asdict(), bytes_up=up, bytes_down=down, exchanges=1 if up else 0)
        totals = self._add(before, result.pool)
        if 2 * totals.unparsed > totals.queries:
            hint = "-o backend.label_words and -o backend.template say how the model is asked for one"
            if self.experiment.backend.service_client:
                hint += ", and -o backend.max_answer_tokens=1000 lets it reason first"
            text = f"{totals.unparsed:,} of {totals.queries:,} answers name no class; {hint}"
            self.callback.on_message(text)
        best = select_best(result, state, None, self.algorithm.model_selection)
        self._record(state.round, "validation", result, None, totals, True)
        return self._checkpoint(state, best, totals)

    def _round(self, progress: Progress) -> Progress:
        algorithm, state = self.algorithm, progress.state
        pool = self._pool(algorithm.sample(state, self.clients), state)
        state, report = algorithm.round(state, pool.send)
        pool.unusable |= report.left_out
        pool.lost |= report.lost
        self._leave_out(pool.unusable, f"round {state.round}")
        for client, how in pool.dropped.items():
            self.callback.on_message(f"{client} dropped out of round {state.round} ({how}); its update is missing")
        for (to, sender), why in pool.lost.items():
            self.callback.on_message(f"{to} has no letter of {sender} in round {state.round}: it {why}")
        totals = self._add(progress.totals, pool)
        if math.isnan(report.loss):
            raise no_answers_error(self.experiment, f"round {state.round}")
        result, best = None, progress.best
        if self.experiment.config.is_evaluated(state.round):
            result = self._evaluate(state, "validation")
            totals = self._add(totals, result.pool)
            evidence = algorithm.model_selection, report.cross_validated, self.experiment.config.least_gain
            best = select_best(result, state, best, *evidence)
        if (is_best := best.round == state.round) and "select" in algorithm.handlers:
            pool_of_all = self._pool(self.clients, state)
            pool_of_all.send("select", algorithm.broadcast(state))
            totals = self._add(totals, pool_of_all)
        self._record(state.round, "validation", result, report.loss, totals, is_best, pool, report.consensus_distance)
        if not algorithm.has_server and self._ended() is not None:
            best, totals = self._with_result(best, state, totals)
        return self._checkpoint(state, best, totals)

    def _ended(self) -> str | None:
        return stop_reason(self.rows, self.plan, self.experiment.config)

    def _with_result(self, best: checkpoint.Best, state: ServerState, totals: Totals) -> tuple[checkpoint.Best, Totals]:
        """The best round with the parameters that nodes without a server reveal before training's last checkpoint."""
        from fedbbpt.run import nodes  # which brings networkx: memory that other runs do without

        of_best = replace(state, round=best.round, parameters=best.parameters)
        parameters, pool = nodes.result(self.experiment, of_best, self.engine)
        self._leave_out(pool.unusable, "the result")
        return replace(best, parameters=parameters), self._add(totals, pool)

    def _finish(self, progress: Progress, ended: str) -> dict[str, Any]:
        """Scores the test data; nothing else reads them."""
        reference = baselines(self.experiment, self.engine)
        totals, best = progress.totals, progress.best
        for pool in reference.pools:
            totals = self._add(totals, pool)
        extra: dict[str, Any] = {"ended": ended, "baseline_traffic": _traffic_between(progress.totals, totals)}
        selected = ServerState(best.round, best.parameters)
        result = self._evaluate(selected, "test")
        totals = self._add(totals, result.pool)
        keep_tested(self.out, self.participants.tested(result.name))  # before nodes score their mean under that name
        tested = result.usage
        if not self.algorithm.has_server:
            from fedbbpt.run import nodes  # which brings networkx: memory that other runs do without

            findings = nodes.ask(self.experiment, selected, self.engine)
            for pool in findings.pools:
                totals, tested = self._add(totals, pool), tested + pool.usage
            extra |= {"nodes": told} if (told := nodes.describe(self.algorithm, self.rows, findings)) else {}
        self._record(best.round, "test", result, None, totals, True)
        left_out = Counter(client for row in self.rows for client in row.get("left_out", ()))
        done = progress.state.round
        took = self.plan if done == self.plan.rounds else plan_queries(self._of_rounds(done))
        summary = summarise(self.experiment, took, best, result, reference, totals, tested, left_out) | extra
        write_json(self.out / "summary.json", summary)
        self.metrics.sync()
        add_result_checksums(self.out)
        write_report(self.out, self.experiment, selected)
        return summary

    def _of_rounds(self, rounds: int) -> Experiment:
        return replace(self.experiment, config=self.experiment.config.model_copy(update={"rounds": rounds}))

    def _pool(self, clients: Sequence[ClientSizes], state: ServerState) -> MeteredClientPool:
        return MeteredClientPool(self.engine, self.algorithm, clients, state)

    def _evaluate(self, state: ServerState, subset: Subset) -> Result:
        result = evaluate(self.algorithm, state, self.clients, subset, self.engine)
        if any(score.unanswered for score in result.scores) and not result.confusion.any():
            raise no_answers_error(self.experiment, f"the {subset} data")
        self._leave_out(result.pool.unusable, f"the scores on the {subset} data")
        for client, how in result.pool.dropped.items():
            self.callback.on_message(f"{client} is missing from the scores on the {subset} data ({how})")
        return result

    def _leave_out(self, clients: Mapping[str, str], where: str) -> None:
        for client, why in clients.items():
            self.callback.on_message(f"{client} is left out of {where}: it {why}")

    def _add(self, totals: Totals, pool: MeteredClientPool) -> Totals:
        seconds = self.seconds_before + time.perf_counter() - self.started
        asked = Usage(*(getattr(totals, part) for part in Usage._fields)) + pool.usage
        totals = replace(totals, **asked._asdict(), seconds=seconds)
        if not self.algorithm.shares_parameters:  # nothing travels
            return totals
        return replace(
            totals,
            bytes_up=totals.bytes_up + pool.bytes_up,
            bytes_down=totals.bytes_down + pool.bytes_down,
            exchanges=totals.exchanges + pool.exchanges,
        )

    def _record(
        self,
        round_: int,
        subset: Subset,
        result: Result | None,
        train_loss: float | None,
        totals: Totals,
        is_best: bool,
        trained: MeteredClientPool | None = None,
        consensus_distance: float | None = None,
    ) -> None:
        scores = {"accuracy": result.accuracy, "loss": result.loss} if result else {"accuracy": None, "loss": None}
        row = {
            "round": round_,
            "subset": subset,
            **scores,
            "train_loss": train_loss,
            "is_best": is_best,
            **asdict(totals),
        }
        row |= {} if consensus_distance is None else {"consensus_distance": consensus_distance}
        row |= {"bytes_between": trained.bytes_between} if trained and trained.bytes_between else {}
        if trained and trained.lost:
            row["lost_links"] = [[to, sender, why] for (to, sender), why in sorted(trained.lost.items())]
        pools = [pool for pool in (trained, result and result.pool) if pool]
        row |= (
            {"dropped_clients": gone} if (gone := sorted({client for pool in pools for client in pool.dropped})) else {}
        )
        row |= {"left_out": left} if (left := {c: why for pool in pools for c, why in pool.unusable.items()}) else {}
        row |= {"billed": billed} if (billed := budget.billed(self.experiment)) else {}
        self.metrics.append(row)
        self.rows.append(row)
        self.asked = totals.queries
        self.callback.on_round(row)

    def _count(self, queries: int) -> None:
        self.asked += queries
        self.callback.on_queries(self.asked)

    def _checkpoint(self, state: ServerState, best: checkpoint.Best, totals: Totals) -> Progress:
        mark = self.metrics.sync()
        files = self.participants.save(state.round)
        fingerprints = config_sha256(self.experiment.config), self.experiment.data_sha256
        progress = Progress(state, best, totals, mark, *fingerprints, files)
        checkpoint.save(self.out / "checkpoints", progress)
        return progress


def _traffic_between(before: Totals, after: Totals) -> dict[str, int]:
    """The bytes and exchanges that came on top."""
    return {part: getattr(after, part) - getattr(before, part) for part in ("bytes_up", "bytes_down", "exchanges")}
