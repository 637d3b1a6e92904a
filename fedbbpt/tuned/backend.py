"""A tuned model as a backend: inputs in, log-probabilities of the task's classes out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Meter, check_scores
from fedbbpt.config.components import build, build_prompt, resolve
from fedbbpt.errors import BudgetError
from fedbbpt.objective import Objective
from fedbbpt.printing import told_if_slow
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts import Readout
from fedbbpt.run.opening import check_payable, loading
from fedbbpt.run.saved_task import SavedTask
from fedbbpt.services.ledger import Account
from fedbbpt.tuned.state import TunedState
from fedbbpt.types import Batch, Float32, Inputs, Usage

NO_ACCOUNT = Account()  # nobody in particular, without limits


class TunedBackend(Backend):
    """Puts a tuned prompt before a model, and its readout behind it. Whatever serves or asks a backend takes this one.

    Args:
        state: what was learned.
        account: who pays, where the model is a paid service, and the limits; those of a model that is free of charge,
            too, but for its cost.
        options: of the model's backend, in place of those with which the run was trained, such as another `device`.

    Raises:
        UnknownName, ConfigError: the options are none of the backend's.
        BackendError: the model cannot be loaded.
    """

    modalities = ("image", "text")

    def __init__(
        self, state: TunedState, account: Account = NO_ACCOUNT, options: Mapping[str, Any] | None = None
    ) -> None:
        self._account = account
        task = SavedTask(state.task, state.provided)
        component = resolve("backends", state.backend.name, {**state.backend.options, **(options or {})})
        with told_if_slow(loading(component)):
            inner: Backend = build("backends", component, task.provider)
        check_scores(inner.info)
        prompt = build_prompt(state.prompt, inner.info.input_size, inner.info.embeddings)
        readout: Readout = build("readouts", state.readout, inner.info, task.classes)
        check_payable(inner, account)
        self.service_client, self.asked = inner.service_client, Meter(inner)
        if self.service_client is not None:
            self.service_client.bill_to(account)
            inner.set_up()
        self._inner, self._parameters = inner, state.parameters
        self._objective = Objective(inner.info, prompt, readout, self.asked)
        self.num_prompts = len(self._objective.split_prompts(state.parameters["prompt"]))
        self.info = BackendInfo(
            model=f"{inner.info.model}:{state.title}",
            input_size=inner.info.input_size,
            classes=task.classes,
            scores="log-probabilities",
            max_batch=inner.info.max_batch,
            resolved=inner.info.resolved,
        )

    def query(self, inputs: Inputs) -> BackendOutput:
        """Log-probabilities (b, K) of inputs; see `Backend.query`.

        Raises:
            BudgetError: the queries would be more than the account allows.
        """
        objective, theta = self._objective, self._parameters["prompt"]
        batch = Batch(inputs, np.zeros(len(inputs), np.int64), objective.prompt.features(inputs))
        return self._asked(
            objective,
            self._parameters,
            (len(inputs), self.num_prompts),
            lambda: objective.answers(theta[None], batch)[0],
        )

    def prompted(self, inputs: Inputs) -> Inputs:
        """The inputs (b, …) as the model reads them, under each of the V prompts: (b, V, …)."""
        return self._objective.prompted(self._parameters["prompt"], inputs)

    def answer(self, prompted: Inputs) -> BackendOutput:
        """As `query`, for inputs (b, V, …) that are prompted already, and so all in memory; raises as it does."""
        return self._answer(self._objective, self._parameters, prompted)

    def untuned(self, inputs: Inputs) -> BackendOutput:
        """As `query`, without the prompt, and with the readout as it is before training."""
        plain = replace(self._objective, prompt=NoPrompt(self.info.input_size))
        parameters = {"prompt": np.zeros(0, np.float32), "readout": plain.readout.init(1)}
        return self._answer(plain, parameters, plain.prompted(parameters["prompt"], inputs))

    def _answer(self, objective: Objective, parameters: Mapping[str, Float32], prompted: Inputs) -> BackendOutput:
        theta = parameters["prompt"]
        return self._asked(objective, parameters, prompted.shape[:2], lambda: objective.answers_to(theta, prompted))

    def _asked(
        self,
        objective: Objective,
        parameters: Mapping[str, Float32],
        size: tuple[int, ...],  # b, V
        ask: Callable[[], Float32],
    ) -> BackendOutput:
        before = self.asked.usage
        examples, prompts = size
        self._check_budget(before + objective.usage(prompts, examples))
        scores = ask()  # (b, V, C)
        log_p = objective.readout.log_probabilities(parameters["readout"], scores)
        now = self.asked.usage
        read, written = now.tokens - before.tokens, now.output_tokens - before.output_tokens
        return BackendOutput(log_p.astype(np.float32), read, now.unparsed - before.unparsed, written)

    def _check_budget(self, after: Usage) -> None:
        """Raises BudgetError if a model that no ledger watches would be asked more than is allowed."""
        if self.service_client is not None:
            return
        budget = self._account.budget
        for name, limit, would in (
            ("max_queries", budget.queries, after.queries),
            ("max_requests", budget.requests, after.requests),
        ):
            if limit is not None and would > limit:
                raise BudgetError(f"{name}={limit} does not allow these inputs, which would make it {would}; raise it")
