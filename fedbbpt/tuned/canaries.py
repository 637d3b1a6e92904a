"""A few public inputs with their answers, by which whoever loads a model notices that it has changed."""

from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError
from fedbbpt.run.report.sample_images import sample_images
from fedbbpt.tuned.model import TunedModel, probabilities
from fedbbpt.types import Size

TOLERANCE = 0.1  # in a probability: far more than numbers differ between processors, also with 16 bits
GRID = 4  # blocks of a coloured pattern, per side
PATTERNS = 5
SENTENCES = (
    "The parcel came a day early, and everything was in it.",
    "I waited an hour for a table, and the soup was cold.",
    "Shares of the company rose by three per cent on Monday.",
    "The home team won the final after extra time.",
    "How do I change the address of my account?",
    "A new telescope has found water on a distant planet.",
    "Nothing happened, and then nothing happened again.",
    "Please send me the report before Friday.",
)


def make_inputs(size: Size) -> NDArray[Any]:
    """Synthetic images uint8 (8, 3, h, w), or texts (8,) of our own; the same everywhere."""
    if size is None:
        return as_texts(SENTENCES)
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (PATTERNS, 3, GRID, GRID))
    rows, columns = (np.arange(side) * GRID // side for side in size)
    drawn = [np.rint(255 * image) for image in sample_images(size).values()]
    return np.stack([*drawn, *patterns[:, :, rows][..., columns]]).astype(np.uint8)


def record(model: TunedModel) -> bytes:
    """Asks the model about the canaries, and serialises them with their answers (8, K)."""
    inputs = make_inputs(model.backend.info.input_size)
    answers = probabilities(_asked(model, inputs))
    known = (
        {"images": inputs}
        if inputs.dtype == np.uint8
        else {"texts": np.frombuffer("\n".join(inputs).encode(), np.uint8)}
    )
    return safetensors.numpy.save(known | {"answers": answers})


def check(model: TunedModel, content: bytes) -> float:
    """Asks the model about its canaries again; returns the largest difference in a probability.

    Raises:
        BackendError: it answers otherwise than it did, or not at all.
    """
    known = safetensors.numpy.load(content)
    inputs = known["images"] if "images" in known else as_texts(known["texts"].tobytes().decode().split("\n"))
    before, now = known["answers"], probabilities(_asked(model, inputs))
    differences = np.abs(now - before).max(1, initial=0)
    differences[np.isnan(before).any(1)] = 0  # it did not answer then, either
    differences[np.isnan(differences)] = 1
    if (largest := float(differences.max(initial=0))) > TOLERANCE:
        changed = int((differences > TOLERANCE).sum())
        raise BackendError(
            f"the model {model.backend.info.model} no longer answers as it did: on {changed} of {len(inputs)} test "
            f"inputs a probability has changed by up to {largest:.2f}; tune a prompt for the new model, or use it all "
            "the same with --no-check, or check=False in Python"
        )
    return largest


def _asked(model: TunedModel, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Log-probabilities (n, K); a service is asked anew, whatever it has answered before."""
    client = model.backend.service_client
    if client is not None:
        client.anew = True
    try:
        return model.log_probabilities(inputs)
    finally:
        if client is not None:
            client.anew = False
