"""Options that name files or folders of one machine, written as `PATH` or `dir:PATH`."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt.text_files import absolute_path

KIND = re.compile(r"dir:|(?=.*[/.])")  # what precedes the path; names of models have neither / nor .


class Place(NamedTuple):
    """An option that may be a path."""

    kind: str  # "dir:", or nothing
    written: str

    @classmethod
    def of(cls, value: Any) -> "Place | None":
        """The value of an option in its two parts; None if it cannot be a path."""
        kind = KIND.match(value) if isinstance(value, str) else None
        return cls(kind[0], value[kind.end() :]) if kind else None

    @property
    def is_absolute(self) -> bool:
        """Whether it names a place on any machine alike."""
        return Path(self.written).is_absolute()

    def found(self) -> Path | None:
        """The absolute path, if there is something."""
        try:
            path = absolute_path(self.written)
            return path if path.exists() else None
        except (OSError, ValueError):  # nothing that could be a path
            return None


def is_place(value: Any) -> bool:
    """Whether an option names a file or folder of this machine: an absolute path, or one that leads somewhere."""
    place = Place.of(value)
    return place is not None and (place.is_absolute or place.found() is not None)


def made_absolute(value: Any) -> Any:
    """An option; a path to what there is, made absolute, so that it is the same wherever a program is started."""
    place = Place.of(value)
    path = place and place.found()
    return f"{place.kind}{path}" if place and path else value


def without_folders(value: Any) -> Any:
    """An option; of an absolute path, the file's or folder's own name."""
    place = Place.of(value)
    return f"{place.kind}{Path(value).name}" if place and place.is_absolute else value
