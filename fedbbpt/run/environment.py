"""What a run ran on: versions, processor, and what the backend says of itself. No user, host or variable names."""

import importlib.metadata
import os
import platform
from dataclasses import asdict
from typing import Any

import fedbbpt
from fedbbpt.run.session import Session

PACKAGES = ("numpy", "scipy", "cma", "cmaes", "pillow", "safetensors", "scikit-learn", "torch", "transformers", "timm")


def versions() -> dict[str, str | None]:
    """Installed versions of what a result may depend on; None for what is not installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def describe(session: Session) -> dict[str, Any]:
    """What goes into `environment.json`."""
    return {
        "fedbbpt": fedbbpt.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": versions(),
        "backend": asdict(session.backend.info),
        **{f"{part}_parameters": size for part, size in session.sizes.items()},
        "data_sha256": session.data_sha256,
    }
