"""Checks an installation: packages, registered components, the working folder, and the speed of the embedded model."""

import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fedbbpt
from fedbbpt import registry
from fedbbpt.backend import Provider
from fedbbpt.errors import FedbbptError
from fedbbpt.run.environment import package_versions


class Check(NamedTuple):
    """The result of one check."""

    subject: str
    passed: bool
    details: str


def run_checks() -> Iterator[Check]:
    """Runs all checks, and yields each result as soon as it is known; of the components, only those that fail."""
    yield Check("python", sys.version_info >= (3, 11), platform.python_version())
    yield Check("fedbbpt", True, fedbbpt.__version__)
    for package, version in package_versions().items():
        yield Check(package, version is not None, version or "missing: pip install 'fedbbpt[local]'")
    yield _check_folder()
    for kind in registry.KINDS:
        yield from _check_components(kind)
    yield _check_embedded_model()


def _check_folder() -> Check:
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            return Check("folder", True, f"{Path.cwd()} is writable")
    except OSError as e:
        reason = (e.strerror or "error").lower()
        return Check("folder", False, f"{Path.cwd()} is not writable ({reason}); use --out")


def _check_components(kind: str) -> Iterator[Check]:
    try:
        names = registry.names(kind)
    except Exception as e:  # importing a third party's table may raise anything
        yield Check(kind, False, f"{type(e).__name__}: {e}")
        return
    for name in names:
        try:
            registry.load(kind, name)
        except Exception as e:  # so may importing its module
            yield Check(kind, False, f"{name}: {type(e).__name__}: {e}")


def _check_embedded_model() -> Check:
    try:
        backend = registry.load("backends", "local-vit")(Provider(tuple("0123456789"), head="mnist"))
    except FedbbptError as e:
        return Check("local-vit", False, str(e))
    info = backend.info
    images = np.random.default_rng(0).random((info.max_batch, 3, *info.input_size), np.float32)
    backend.query(images)  # the first query is slower
    start = time.perf_counter()
    backend.query(images)
    rate = len(images) / (time.perf_counter() - start)
    device = f"{info.resolved['dtype']} on {info.resolved['device']}"
    return Check("local-vit", True, f"{info.model} in {device}: {rate:.0f} queries/s")
