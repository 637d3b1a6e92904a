"""The size of the images that a model reads, according to its own files."""

from collections.abc import Mapping, Sequence
from typing import Any

HeightWidth = tuple[int, int]  # height, width


def height_width(value: Any) -> HeightWidth | None:
    """Height and width as configs write them: 224, [224], [192, 256], {"height": …, "width": …}.

    A shortest edge counts for both, since images are made square. None if the size is not fixed.

    >>> height_width({"shortest_edge": 224})
    (224, 224)
    """
    if isinstance(value, Mapping):
        edges = (value.get("height"), value.get("width"))
        return height_width(edges if all(edges) else value.get("shortest_edge"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) == 1:
            return height_width(value[0])
        return (int(value[0]), int(value[1])) if len(value) == 2 else None
    return (int(value), int(value)) if isinstance(value, int | float) and value >= 1 else None


def processed_size(settings: Mapping[str, Any]) -> HeightWidth | None:
    """The size of the images that an image processor with these settings outputs, if it is fixed."""
    if settings.get("crop_size") and settings.get("do_center_crop") is not False:
        return height_width(settings["crop_size"])
    return height_width(settings.get("size")) if settings.get("do_resize") is not False else None
