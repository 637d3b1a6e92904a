"""SFPrompt and what it is compared with, as options of the algorithm `sfprompt`.

Rates, of .03, .1, .3 and 1, and sizes of batches, 4 or 16, by validation loss on digits and faenza; SFPrompt's rate,
the default, is the paper's own.
"""

from typing import Any

SETTINGS: dict[str, Any] = {"name": "sfprompt", "dtype": "auto"}
PLAIN_SPLIT_LEARNING: dict[str, Any] = {
    "num_prompt_tokens": 0,
    "keep_fraction": 1.0,
    "local_epochs": 0,
}  # without what makes it SFPrompt
LINEAR = PLAIN_SPLIT_LEARNING | {"trainable": "linear", "lr": 0.3}
FULL = PLAIN_SPLIT_LEARNING | {"trainable": "full", "lr": 0.03, "batch_size": 16}

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "sfprompt": ("SFPrompt: soft tokens and the tail, split", {}),
    "sfprompt-unpruned": ("SFPrompt on all samples", {"keep_fraction": 1.0}),
    "sfprompt-no-update": ("SFPrompt without self-update", {"local_epochs": 0}),
    "sfprompt-embedding": (
        "SFPrompt with embedding and classifier alone at the client",
        {"head_blocks": 0, "tail_blocks": 0},
    ),
    "sfl-linear": ("a classifier, split", LINEAR),
    "sfl-full": ("the whole model, split", FULL),
    "fl-linear": ("a classifier, each client with the model", LINEAR | {"topology": "federated"}),
    "fl-full": ("the whole model, each client with all of it", FULL | {"topology": "federated"}),
}
