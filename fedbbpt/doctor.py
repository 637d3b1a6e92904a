"""Checks an installation: packages, extras, programs and keys, the working folder, components, the embedded model."""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fedbbpt
from fedbbpt import registry
from fedbbpt.assets.catalogue import ARCHIVES
from fedbbpt.backend import Provider
from fedbbpt.config.components import option_fields
from fedbbpt.errors import FedbbptError
from fedbbpt.extras import missing_packages
from fedbbpt.run.environment import package_versions
from fedbbpt.web.auth import TOKEN_VARIABLE

KEY_VARIABLES = {TOKEN_VARIABLE: "the token of fedbbpt serve", "HF_TOKEN": "the token of the Hugging Face hub"}


class Check(NamedTuple):
    """The result of one check."""

    subject: str
    passed: bool | None  # None: something optional is not there
    details: str

    @property
    def mark(self) -> str:
        """The result in at most two letters."""
        return "-" if self.passed is None else "ok" if self.passed else "NO"


def run_checks() -> Iterator[Check]:
    """Runs all checks, and yields each result as soon as it is known; of the components, only those that fail."""
    yield Check("python", sys.version_info >= (3, 11), platform.python_version())
    yield Check("fedbbpt", True, fedbbpt.__version__)
    for package, version in package_versions().items():
        yield Check(package, version is not None, version or "missing: pip install 'fedbbpt[local]'")
    yield from _check_extras()
    yield from _check_programs()
    yield from _check_keys()
    yield _check_folder()
    for kind in registry.KINDS:
        yield from _check_components(kind)
    yield _check_embedded_model()


def _check_extras() -> Iterator[Check]:
    try:
        extras = missing_packages()
    except metadata.PackageNotFoundError:
        yield Check("extras", None, "unknown: fedbbpt is not installed as a package (pip install -e .)")
        return
    for extra, missing in extras.items():
        details = f"without {', '.join(missing)}: pip install 'fedbbpt[{extra}]'" if missing else "installed"
        yield Check(f"extra {extra}", None if missing else True, details)


def _check_programs() -> Iterator[Check]:
    """The programs that download assets."""
    here = {"pip": find_spec("pip") is not None, **{name: bool(shutil.which(name)) for name in ("npm", "apt-get")}}
    for program, found in here.items():
        fetched = [name for name, asset in ARCHIVES.items() if asset.client == program]
        without = f"not installed: {', '.join(fetched)} can only be handed over (fedbbpt assets get NAME --from FILE)"
        yield Check(program, found or None, f"downloads {len(fetched)} of the assets" if found else without)


def _check_keys() -> Iterator[Check]:
    """The environment variables with keys and tokens, of which no value is shown."""
    variables = dict(KEY_VARIABLES)
    for name in registry.names("backends"):
        try:
            options = option_fields(registry.load("backends", name))
        except Exception:  # `_check_components` reports it
            continue
        if "key_variable" in options:
            variables[options["key_variable"][1]] = f"the key of backend {name}"
    for variable, owner in sorted(variables.items()):
        is_set = bool(os.environ.get(variable, "").strip())
        yield Check(f"${variable}", is_set or None, f"{'set' if is_set else 'not set'}: {owner}")


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
