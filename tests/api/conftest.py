"""Runs on models that answer at once."""

from tests.tuned_runs import backends, image_run, pictures, text_run

__all__ = ["backends", "image_run", "pictures", "text_run"]
