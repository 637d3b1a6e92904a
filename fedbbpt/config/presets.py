"""What a run's settings are unless somebody says otherwise: by what the task holds and what is asked of the model."""

from typing import Any

DEFAULTS = {
    "backend": "local-vit",
    "task": "digits",
    "prompt": "colour",
    "readout": "head",
    "optimizer": "random",
    "algorithm": "greedy",
    "engine": "serial",
}
FOR_TEXTS = {"backend": "hf-text", "prompt": "none"}  # defaults of tasks that hold texts
ONE_PROMPT = {"algorithm": "fedavg", "optimizer": "spsa-gc"}  # defaults where one prompt, or none, is tuned for itself
INSTRUCTED: dict[str, Any] = {  # defaults where a language model is asked for words; chosen on development tasks
    "rounds": 3,
    "prompt": {"name": "instruction"},
    "readout": {"name": "head", "decay": 0.05},
    "optimizer": {"name": "random", "population": 4},
    "algorithm": {"name": "greedy", "views": 4},
}
# Defaults where the method cuts the model, and trains parts of it; rounds by validation on development tasks.
CUT: dict[str, Any] = {"rounds": 20, "prompt": "none", "readout": "none"}
SEARCH = {"fedbpt": "sep-cma", "tokens": "bdpl", "instruction": "bdpl"}  # its optimizer with these instead
