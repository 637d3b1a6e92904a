"""Nothing that the server writes holds a client's data or the answers to them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbbpt.backend import BackendOutput
from fedbbpt.prompts.coordinator import Coordinator
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.testing import ToyBackend

ANSWER, FEATURE = np.float32(1234.5678), np.float32(-4321.125)  # numbers that nobody would meet by chance


class Marking(ToyBackend):
    """Gives away its numbers to whoever asks about bright images: one score of each answer is the same number."""

    def query(self, inputs):
        scores = super().query(inputs).scores
        bright = inputs.mean((1, 2, 3)) > 0.5
        scores[bright] += ANSWER
        scores[bright, 0] = ANSWER
        return BackendOutput(scores)


def coordinator(size):
    return Coordinator(size, encoder="pixels")


def with_features(client, prompt, mark):
    """The client with what the prompt wants to know; `mark`: of bright images, with a number among the features."""

    def change(data):
        inputs = (200 + data.inputs[:] // 4).astype(np.uint8) if mark else data.inputs[:]
        features = prompt.features(inputs.astype(np.float32) / 255)
        if mark and features is not None:
            features[:, 0] = FEATURE
        return replace(data, inputs=inputs, features=features)

    return replace(client, train=change(client.train), validation=change(client.validation), test=change(client.test))


def traces(number: np.float32) -> list[bytes]:
    """How a number may be written: as in memory, and as text."""
    return [number.tobytes(), np.float64(number).tobytes(), str(float(number))[:8].encode()]


@pytest.mark.parametrize(
    ("algorithm", "prompt"),
    [
        ("ensemble", Dct),
        ("ensemble", coordinator),
        ("fedavg", Dct),
        ("fedavg", NoPrompt),
        ("fedavg", coordinator),
        ("fedbpt", Dct),
        ("local", Dct),
        ("local", NoPrompt),
        ("gossip", Dct),
        ("gossip", NoPrompt),
        ("flood", Dct),
        ("flood", NoPrompt),
        ("local", coordinator),
    ],
)
def test_a_clients_numbers_are_in_its_own_files_alone(run, clients, tmp_path: Path, algorithm, prompt) -> None:
    assert ANSWER.tobytes() in Marking().query(np.ones((1, 3, 8, 8), np.float32)).scores.tobytes()
    victim, settings = clients[0].id, {"optimizer": {"name": "cma"}} if algorithm == "fedbpt" else {}
    run(
        tuned=(prompt, LinearReadout),
        backend=Marking(),
        clients=[with_features(client, prompt((8, 8)), client.id == victim) for client in clients],
        algorithm={"name": algorithm},
        **settings,
    )
    found = {}
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found[path.relative_to(tmp_path / "run")] = any(t in content for n in (ANSWER, FEATURE) for t in traces(n))
    assert len(found) > 7
    at_home = {path for path, there in found.items() if there and path.parts[:2] == ("clients", victim)}
    assert {path for path, there in found.items() if there} == at_home
    assert bool(at_home) == (algorithm == "ensemble" or prompt is NoPrompt)  # which remember answers
