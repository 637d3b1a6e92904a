"""A run's settings: defaults ← preset ← TOML file ← command line, checked as a whole before anything starts."""

from fedbbpt.config.resolve import make_config
from fedbbpt.config.schema import Config

__all__ = ["Config", "make_config"]
