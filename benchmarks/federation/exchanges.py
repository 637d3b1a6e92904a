"""The exchanges of each method's rounds at one site, recorded in a simulation: their bytes and the site's work."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import BaseModel

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.engines import TUNED, Call, OnDropped
from fedbbpt.engines.serial import Serial
from fedbbpt.federation.messages import Request, Response
from fedbbpt.run.train import train
from fedbbpt_benchmarks.experiments.costs.measure import Stand
from fedbbpt_benchmarks.federation.sites import THREADS

METHODS: dict[str, dict[str, Any]] = {
    "default": {},
    # With all of a few sites in each round, it would send the sites' losses in place of the parameters.
    "Fed-BBPT": {"rounds": 2, "algorithm": {"name": "fedavg", "clients_per_round": 1}},
    "SFPrompt": {"rounds": 2, "algorithm": {"name": "sfprompt"}},
}


class Recorded(BaseModel):
    """An exchange with one site. Bytes are those that NVFlare is given."""

    handler: str
    down: int
    up: int
    seconds: float  # of the processor, for the site and a body that it asks
    passes: int  # through the body: requests to it
    crossed_down: int  # bytes of all of them together
    crossed_up: int


class Rounds(BaseModel):
    """The exchanges of a method's rounds, scoring on the validation data included."""

    rounds: int
    exchanges: list[Recorded]
    body_share: float  # of the seconds, that of the body of a split model


class Recording(Serial):
    """Runs clients as `serial` does, and keeps what a real federation would send."""

    recorded: list[Recorded]  # of the class: a run makes its engine itself

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`."""
        start = time.process_time()
        replies = list(super().send(call, clients, on_dropped))
        seconds = time.process_time() - start
        if call.algorithm == TUNED and call.message.subset != "test":
            (reply,) = replies
            request = Request("call", {"handler": call.handler, "algorithm": TUNED}, call.message.to_bytes())
            response = Response("ok", {"reply": type(reply).__name__}, reply.to_bytes())
            ways = 2 if call.handler == "train" else 1  # gradients come back
            self.recorded.append(
                Recorded(
                    handler=call.handler,
                    down=len(request.to_bytes()),
                    up=len(response.to_bytes()),
                    seconds=seconds,
                    passes=ways * reply.usage.requests if reply.traffic.up else 0,
                    crossed_down=reply.traffic.down,
                    crossed_up=reply.traffic.up,
                )
            )
        return iter(replies)


def record(folder: Path, method: str) -> Rounds:
    """Trains a method with one site, whose images the folder holds in `data`, and leaves the run there."""
    import torch

    torch.set_num_threads(THREADS)
    registry.register("engines", "recording", Recording)
    config = make_config(
        {
            **METHODS[method],
            "task": {"name": f"sites:{folder / 'data'}"},
            "backend": {"name": "local-vit", "classifier": "mnist"},
            "engine": {"name": "recording"},
        }
    )
    Recording.recorded = []
    train(config, folder / "run")
    share = 0.0
    if any(one.passes for one in Recording.recorded):
        stand = Stand(config, config.data.shots_per_class or 1)
        stand.counted(config)  # warms up
        times = stand.timed(config)
        share = times.server / sum(times)
    rounds = Recording.recorded[1:]  # before the first round, the start is scored
    trained = sum(one.handler == "train" for one in rounds)
    return Rounds(rounds=trained, exchanges=rounds, body_share=share)


def mean_seconds(exchanges: Sequence[Recorded]) -> dict[str, float]:
    """The site's seconds for an exchange of each handler."""
    handlers = {one.handler for one in exchanges}
    return {handler: mean(one.seconds for one in exchanges if one.handler == handler) for handler in handlers}
