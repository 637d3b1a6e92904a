"""`site.toml` of a site's kit: its data, its backend and its policy. No job can set any of it, and no key is in it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict

from fedbbpt.backend import Backend
from fedbbpt.config import make_config
from fedbbpt.config.components import load_class, option_fields
from fedbbpt.config.places import without_folders
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.config.settings import read_toml
from fedbbpt.config.validation import check_keys
from fedbbpt.errors import ConfigError, DataError, UnknownName
from fedbbpt.federation.policy import Policy
from fedbbpt.printing import short_repr
from fedbbpt.run.atomic_files import write_atomic
from fedbbpt.text_files import absolute_path

FILE = "site.toml"
KINDS = "folder:PATH, csv:PATH, jsonl:PATH or parquet:PATH"  # of data
PROVIDER_SHOTS = "provider_shots_per_class"


class SiteConfig(BaseModel):
    """What a site brings into a federation."""

    model_config = ConfigDict(frozen=True)
    data: ComponentConfig  # a task whose name holds an absolute path
    backend: ComponentConfig
    policy: Policy = Policy()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "SiteConfig":
        """Makes it from sections `data`, `backend` (by default one that reads the data) and `policy`, as in TOML.

        Paths may be relative to the working directory. Of the data, the model's provider has no examples.

        Raises:
            UnknownName: no such section, option, task or backend.
            ConfigError: a value of the wrong type, or data and backend that do not go together.
            DataError: there are no data at the path.
        """
        check_keys("section of a site", settings, cls.model_fields)
        for section, values in settings.items():
            if not isinstance(values, dict):
                raise ConfigError(f"{section} is a section with its settings, got {short_repr(values)}")
        backend = {"backend": settings["backend"]} if settings.get("backend") else {}
        config = make_config({"task": _data(settings.get("data", {})), **backend})
        return cls(data=config.task, backend=config.backend, policy=Policy.of(settings.get("policy", {})))

    @classmethod
    def read(cls, kit: Path) -> "SiteConfig":
        """Reads `site.toml` of a kit.

        Raises:
            ConfigError: the file cannot be read, or is not as `write` leaves it.
            DataError: there are no data at the path.
        """
        path = kit / FILE
        if not path.is_file():
            raise ConfigError(f"{kit} has no {FILE} yet; fedbbpt federation join {kit} --data … writes it")
        settings = read_toml(path)
        try:
            return cls.of(settings)
        except (ConfigError, UnknownName) as e:
            raise ConfigError(f"{path} cannot be used: {e}") from e

    def write(self, kit: Path) -> None:
        """Writes `site.toml`, from which `read` makes the same."""
        tables = {"data": self.data.table, "backend": self.backend.table, "policy": self.policy.model_dump()}
        written = {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()}
        write_atomic(kit / FILE, tomli_w.dumps(written).encode())

    @property
    def run_settings(self) -> dict[str, Any]:
        """The sections of a run's settings that are the site's own."""
        return {"task": self.data.table, "backend": self.backend.table}

    @property
    def public_backend(self) -> ComponentConfig:
        """What the server may know of the backend."""
        return public(self.backend)


def public(backend: ComponentConfig) -> ComponentConfig:
    """A backend without options that are unset or private, and without folders' names."""
    kind: type[Backend] = load_class("backends", backend.name)
    options = backend.options.items()
    shown = {k: without_folders(v) for k, v in options if v is not None and k not in kind.private_options}
    return ComponentConfig(name=backend.name, options=shown)


def _data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the site's task, with an absolute path and without examples for the model's provider."""
    name = settings.get("name", "")
    kind, _, source = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind == "sites" or not source:
        raise ConfigError(f"data are what one site has: {KINDS}, got {short_repr(name)}")
    try:
        path = absolute_path(source)
    except ValueError as e:
        raise DataError(f"cannot read {source!r}: {e}") from e
    if not os.path.exists(path):  # noqa: PTH110 - where Path.exists raises, it says no
        raise DataError(f"there are no data at {path}, or they cannot be read")
    if settings.get(PROVIDER_SHOTS, 0) != 0:
        raise ConfigError(f"a site gives the model no examples; leave out data.{PROVIDER_SHOTS}")
    none_for_provider = {PROVIDER_SHOTS: 0} if PROVIDER_SHOTS in option_fields(load_class("tasks", kind)) else {}
    return {**settings, "name": f"{kind}:{path}", **none_for_provider}
