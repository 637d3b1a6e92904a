"""How a model normalises images, according to its own files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedbbpt.errors import BackendError

ChannelOrder = Literal["RGB", "BGR", "L"]  # L: grey
CHANNELS: dict[int, ChannelOrder] = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Preprocessing:
    """The model reads (pixel in [0, 1] − mean) / std per channel, then in the given order of channels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: ChannelOrder

    @property
    def num_channels(self) -> int:
        """The number of channels that the model reads."""
        return len(self.mean)


def channel_order_of(name: str, depth: int) -> ChannelOrder:
    """The order of channels in a model that reads `depth` of them.

    Raises:
        BackendError: `depth` is neither 3 (RGB) nor 1 (grey).
    """
    if depth not in CHANNELS:
        raise BackendError(f"{name} reads images of {depth} channels; only 3 (RGB) and 1 (grey) are supported")
    return CHANNELS[depth]


def preprocessing_of(name: str, settings: Mapping[str, Any], depth: int) -> Preprocessing:
    """The preprocessing of an image processor with these settings.

    Raises:
        BackendError: mean or standard deviation are missing, invalid, or for another number of channels.
    """
    order = channel_order_of(name, depth)
    unit = 255 * (settings.get("rescale_factor") or 1 / 255) if settings.get("do_rescale") is not False else 255
    mean, std = _normalisation(name, settings, depth)
    if settings.get("rescale_offset"):  # EfficientNet's
        mean = tuple(m + 1 for m in mean)
    if settings.get("include_top"):  # EfficientNet's classifiers divide once more
        std = tuple(s * more for s, more in zip(std, _each(name, settings["image_std"], depth), strict=True))
    if settings.get("do_flip_channel_order") and depth > 1:
        order = "BGR"
    return Preprocessing(tuple(m / unit for m in mean), tuple(s / unit for s in std), order)


def _normalisation(name: str, settings: Mapping[str, Any], depth: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel."""
    given = [settings.get(key) for key in ("image_mean", "image_std")]
    wanted = settings.get("do_normalize")
    if wanted is False or (wanted is None and given == [None, None]):
        return (0.0,) * depth, (1.0,) * depth
    mean, std = (_each(name, value, depth) for value in given)
    if min(std) <= 0:
        raise BackendError(f"{name}: image_std of its image processor must be positive, got {given[1]}")
    return mean, std


def _each(name: str, value: Any, depth: int) -> tuple[float, ...]:
    """One number per channel."""
    values = value if isinstance(value, Sequence) else [value]
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in values):
        raise BackendError(f"{name}: image_mean and image_std of its image processor must be numbers, got {value!r}")
    if len(set(values)) == 1:
        values = [values[0]] * depth
    if len(values) != depth:
        raise BackendError(f"{name} reads {depth} channels, but its image processor normalises {len(values)}")
    return tuple(map(float, values))
