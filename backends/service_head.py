"""Fits a head for the embeddings of a service to the provider's shots, which are queried first."""

import logging

import numpy as np

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import BackendError
from fedbbpt.services.client import ServiceClient
from fedbbpt.types import Dataset
from fedbbpt_backends.heads import Fit, LinearHead

log = logging.getLogger("fedbbpt")


def fit_service_head(fit: Fit, client: ServiceClient, shots: Dataset, info: BackendInfo) -> LinearHead:
    """Fits a head to the embeddings of the shots, leaving out those that the service rejects.

    Raises:
        BackendError: a shot got no answer, all got the same embedding, or all of one class were rejected.
    """
    pieces = range(0, len(shots), info.max_batch)
    replies = [one for i in pieces for one in client.ask(shots.batch(slice(i, i + info.max_batch)).inputs)]
    said = f" ({client.refusals.last_error})" if client.refusals.last_error else ""
    if silent := replies.count(None):
        raise BackendError(
            f"{silent} of the provider's {len(replies)} shots got no answer{said}; look whether {info.model} is up, "
            "and try again"
        )
    found = {i: reply.scores for i, reply in enumerate(replies) if reply is not None and len(reply.scores)}
    labels = shots.labels[list(found)]
    for number, name in enumerate(info.classes):
        if number in shots.labels and number not in labels:
            raise BackendError(f"{info.model} refuses all of the provider's examples of {name!r}{said}")
    if len(found) < len(replies):
        log.warning(
            "%d of the provider's %d examples are refused%s: the head is fitted to the others",
            len(replies) - len(found),
            len(replies),
            said,
        )
    vectors = np.stack(list(found.values()))
    if len(vectors) > 1 and (vectors == vectors[0]).all():
        raise BackendError(
            f"{info.model} answers all of the provider's examples with the same vector, which tells no classes apart; "
            "look whether it is a model for embeddings"
        )
    return fit(vectors, labels, info.classes)
