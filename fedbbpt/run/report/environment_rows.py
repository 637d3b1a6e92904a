"""What a run was made with, in words."""

from fedbbpt.run.environment import Environment
from fedbbpt.types import Usage


def environment_rows(environment: Environment) -> list[tuple[str, str]]:
    """Labels and what there is to say of software, model and fingerprints."""
    known, packages = environment.model_dump(), environment.packages
    model, setup = known["backend"], Usage(*environment.setup)
    cores = known.get("cores")
    machine = f" on {known['system']}" + (f" with {cores} core{'s' if cores != 1 else ''}" if cores else "")
    rows = [
        ("Software", f"fedbbpt {environment.fedbbpt} in Python {environment.python}{machine}"),
        ("Packages", ", ".join(f"{name} {version}" for name, version in packages.items() if version)),
        ("Not installed", ", ".join(name for name, version in packages.items() if not version)),
        ("Model", environment.backend.model),
        ("Opened as", ", ".join(f"{key} {value}" for key, value in model["resolved"].items() if key != "model")),
        ("Inputs", _inputs(model["input_size"], model["max_inputs_per_request"] or model["max_batch"])),
        ("Answers", f"{model['scores']} for {len(environment.backend.classes):,} classes"),
        (
            "Before the first round",
            f"{setup.queries:,} queries in {setup.requests:,} requests" if setup.queries else "",
        ),
        ("Name in ledgers", environment.run),
        ("SHA-256 of the settings", environment.config_sha256),
        ("SHA-256 of the data", environment.data_sha256),
    ]
    return [(label, said) for label, said in rows if said]


def _inputs(size: tuple[int, int] | None, limit: int) -> str:
    shown = f"images of {size[0]} × {size[1]} pixels" if size else "texts"
    return f"{shown}, at most {limit:,} in a request"
