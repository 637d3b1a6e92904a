"""Shows the prompts of the best checkpoint: as text, or applied to synthetic images."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from fedbbpt.algorithms import ServerState
from fedbbpt.data.texts import as_texts
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.report.sample_images import sample_images
from fedbbpt.types import Float32, Prompted

VISIBLE_CHANGE = 0.5 / 255  # half a step of an 8-bit picture
PLACEHOLDER = "⟨text⟩"  # where a text goes


def prompt_texts(experiment: Experiment, theta: Float32) -> list[str]:
    """Renders each prompt of θ (V·d,) around a placeholder for the text; empty for prompts of images.

    Nothing, too, where every client has its own.
    """
    if not (experiment.prompt.dim and experiment.task.modality == "text" and experiment.algorithm.shares_parameters):
        return []
    prompted = experiment.prompt.apply(theta.reshape(-1, experiment.prompt.dim), as_texts([PLACEHOLDER]), None)
    return [_vectors(one) + one for one in prompted]


def _vectors(one: str) -> str:
    prefix = one.soft_prompt if isinstance(one, Prompted) else None
    return "" if prefix is None else f"⟨{len(prefix)} vectors⟩ "


def image_preview(experiment: Experiment, state: ServerState) -> dict[str, Any] | None:
    """Renders a few synthetic images: the original, the difference, and under each prompt. No client's image is shown.

    None without a prompt for images that all clients share.
    """
    if not (experiment.prompt.dim and experiment.task.modality == "image" and experiment.algorithm.shares_parameters):
        return None
    prompts = state.parameters["prompt"].reshape(-1, experiment.prompt.dim)
    originals = sample_images(experiment.backend.info.input_size or (0, 0))
    shown = []  # of each image: as it is, and under each prompt
    for original in originals.values():
        inputs = original[None]
        shown.append((original, experiment.prompt.apply(prompts, inputs, experiment.prompt.features(inputs))))
    reach = max(float(np.abs(prompted - original).max()) for original, prompted in shown)
    scale = np.float32(0.5 / reach if reach > VISIBLE_CHANGE else 0)
    items = []
    for name, (original, prompted) in zip(originals, shown, strict=True):
        kinds = [("original", original)]
        if len(prompted) == 1:
            kinds += [("difference", (prompted[0] - original) * scale + np.float32(0.5)), ("prompted", prompted[0])]
        else:
            kinds += [(f"prompt {i}", picture) for i, picture in enumerate(prompted, 1)]
        items.append((name, [(kind, _data_uri(picture)) for kind, picture in kinds]))
    side = max(shown[0][0].shape[1:])
    return {"items": items, "reach": reach if scale else None, "side": side, "prompts": len(shown[0][1])}


def _data_uri(picture: Float32) -> str:
    """Encodes an image (3, h, w) in [0, 1] as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray((picture.transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
