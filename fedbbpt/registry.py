"""Finds component classes by name through entry points: fedbbpt's own and those of any installed package.

A package adds one component, say a backend, with an entry point in the group `fedbbpt.backends`. It adds many at once
with one entry point in the group `fedbbpt.backend_tables` that refers to a mapping from names to classes.
"""

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from typing import Any

from fedbbpt.errors import ConfigError, UnknownName

# The class or protocol that each kind's classes derive from; imported with the first class of its kind.
PROTOCOLS = {
    "backends": "fedbbpt.backend:Backend",
    "tasks": "fedbbpt.data:Task",
    "prompts": "fedbbpt.prompts:Prompt",
    "encoders": "fedbbpt.encoders:Encoder",
    "readouts": "fedbbpt.readouts:Readout",
    "optimizers": "fedbbpt.optim:Optimizer",
    "algorithms": "fedbbpt.algorithms:Algorithm",
    "engines": "fedbbpt.engines:Engine",
    "callbacks": "fedbbpt.run.callback:Callback",
}
KINDS = tuple(PROTOCOLS)
_registered: dict[tuple[str, str], type] = {}  # by kind and name


def names(kind: str) -> list[str]:
    """The sorted names of one kind; imports its tables, but no component with an entry point of its own.

    >>> "csv" in names("tasks"), "mnist" in names("tasks")
    (True, True)
    """
    if kind not in KINDS:
        raise UnknownName("kind", kind, KINDS)
    ours = {name for own, name in _registered if own == kind}
    return sorted({*_entries(kind, tuple(sys.path)), *_tables(kind, tuple(sys.path)), *ours})


def register(kind: str, name: str, component: type) -> None:
    """Gives a class a name in this process alone, for scripts and notebooks; again, as often as its cell is run.

    Other processes (`fedbbpt …`, the workers of engine `processes`) know the names of installed packages only.

    Raises:
        UnknownName: no such kind.
        ConfigError: an installed package has the name, or the class does not derive from the protocol of its kind.
    """
    if name in names(kind) and (kind, name) not in _registered:
        raise ConfigError(f"the name of {kind.removesuffix('s')} {name!r} is taken; choose another one")
    _check_protocol(f"{kind.removesuffix('s')} {name!r}", component, PROTOCOLS[kind])
    _registered[kind, name] = component


def load(kind: str, name: str) -> Any:
    """The class behind a name. Tables are imported only for names that have no entry point of their own.

    Raises:
        UnknownName: no installed package provides it.
        ConfigError: the class does not derive from the protocol of its kind.
    """
    if (kind, name) in _registered:
        return _registered[kind, name]
    if entry := _entries(kind, tuple(sys.path)).get(name):
        found = entry.load()
        _check_protocol(f"{kind.removesuffix('s')} {name!r} ({entry.value})", found, PROTOCOLS[kind])
        return found
    if name not in (known := names(kind)):
        raise UnknownName(kind.removesuffix("s"), name, known, f"fedbbpt list {kind}")
    return _tables(kind, tuple(sys.path))[name]


def _check_protocol(what: str, found: Any, protocol: str) -> None:
    """Raises ConfigError unless `found` is a class that derives from the protocol, given as "module:Name"."""
    module, _, name = protocol.partition(":")
    wanted = getattr(import_module(module), name)
    if not isinstance(found, type) or wanted not in found.__mro__:
        own = found.__name__ if isinstance(found, type) else "Name"
        raise ConfigError(f"{what} does not derive from {module}.{name}: write it as class {own}({name})")


@cache  # reading what every installed package declares takes milliseconds, and one config asks dozens of times
def _entries(group: str, path: tuple[str, ...]) -> dict[str, metadata.EntryPoint]:
    """The entry points that packages on the path declare in `fedbbpt.{group}`, by name."""
    return {entry.name: entry for entry in metadata.entry_points(group=f"fedbbpt.{group}")}


@cache
def _tables(kind: str, path: tuple[str, ...]) -> Mapping[str, Any]:
    """All components of one kind that tables provide, by name."""
    tables = _entries(f"{kind.removesuffix('s')}_tables", path).values()
    return {name: component for table in tables for name, component in table.load().items()}
