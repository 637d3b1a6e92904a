"""Two backends for `fedbbpt serve`, as a third party's package has them."""

from zlib import crc32

import numpy as np

from fedbbpt.backend import Backend, BackendInfo, BackendOutput


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32)


class Letters(Backend):
    """Scores a text by its words; an answer does not depend on the other inputs of its batch."""

    modalities = ("text",)

    def __init__(self, provider, /):
        self.info = BackendInfo("letters", None, provider.classes, "log-probabilities", 64)

    def query(self, inputs):
        noise = [[crc32(f"{i}{text}".encode()) / 2**31 for i in range(len(self.info.classes))] for text in inputs]
        signal = [[2.0 * (word in text) for word in ("bright", "dull")] for text in inputs]
        return BackendOutput(log_softmax(np.array(noise) + np.array(signal)), sum(map(len, inputs)))


class Colours(Backend):
    """Scores an image of 8 bits."""

    modalities = ("image",)

    def __init__(self, provider, /):
        self.info = BackendInfo("colours", (8, 8), provider.classes, "log-probabilities", 64)

    def query(self, inputs):
        eight = (inputs * 255).round() / np.float32(255)
        weights = np.random.default_rng(0).normal(size=(3 * 64, len(self.info.classes)))
        return BackendOutput(log_softmax(np.stack([image.ravel() @ weights for image in eight.astype(np.float64)])))
