"""A look at the installation: what is there, what is missing, how fast the embedded model answers."""

import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fedbbpt
from fedbbpt import registry
from fedbbpt.backend import Provider
from fedbbpt.errors import FedbbptError
from fedbbpt.run.environment import package_versions

Finding = tuple[str, bool, str]  # what, whether it is fine, in words


def examine() -> Iterator[Finding]:
    """One finding after the other, as they come."""
    yield "python", sys.version_info >= (3, 11), platform.python_version()
    yield "fedbbpt", True, fedbbpt.__version__
    for package, version in package_versions().items():
        yield package, version is not None, version or "missing: pip install 'fedbbpt[local]'"
    yield _folder()
    for kind in registry.KINDS:
        try:
            names = registry.names(kind)
        except Exception as e:  # whatever a third party's table does while it is imported
            yield kind, False, f"{type(e).__name__}: {e}"
            continue
        for name in names:
            if (trouble := _trouble(kind, name)) is not None:
                yield kind, False, f"{name}: {trouble}"
    yield _model()


def _folder() -> Finding:
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            return "folder", True, f"{Path.cwd()} can be written"
    except OSError as e:
        return "folder", False, f"{Path.cwd()} cannot be written ({(e.strerror or 'error').lower()}); use --out"


def _trouble(kind: str, name: str) -> str | None:
    try:
        registry.load(kind, name)
    except Exception as e:  # whatever a third party's module does while it is imported
        return f"{type(e).__name__}: {e}"
    return None


def _model() -> Finding:
    try:
        backend = registry.load("backends", "local-vit")(Provider(tuple("0123456789"), head="mnist"))
    except FedbbptError as e:
        return "local-vit", False, str(e)
    info = backend.info
    images = np.random.default_rng(0).random((info.max_batch, 3, *info.input_size), np.float32)
    backend.query(images)
    start = time.perf_counter()
    backend.query(images)
    rate = len(images) / (time.perf_counter() - start)
    where = f"{info.resolved['dtype']} on {info.resolved['device']}"
    return "local-vit", True, f"{info.model} in {where}: {rate:.0f} queries/s"
