"""Chooses the device and the dtype that a local model computes in."""

import functools
import time

import torch

from fedbbpt.errors import ConfigError


def resolve_device(name: str) -> str:
    """The device of that name; `auto` is the GPU if there is one.

    Raises:
        ConfigError: the device cannot be used on this machine.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise ConfigError(f"backend.device={name!r} cannot be used here; try cpu") from e
    return device


def resolve_dtype(name: str, device: str) -> torch.dtype:
    """The dtype of that name; `auto` is the one that the device computes fastest in (see `fast_dtype`)."""
    return fast_dtype(device) if name == "auto" else getattr(torch, name)


@functools.cache
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 if a ViT-sized matrix product is at least 1.5 times faster in it than in float32, else float32.

    Timed once per process, in a few milliseconds. Ratios close to 1.5 are rare: a processor has matrix units for
    bfloat16, or it emulates it.
    """
    ratio = _seconds(torch.float32, device) / _seconds(torch.bfloat16, device)
    return torch.bfloat16 if ratio >= 1.5 else torch.float32


def _seconds(dtype: torch.dtype, device: str) -> float:
    """Seconds that (1024, 384) @ (384, 1536) takes: the minimum of eight repetitions."""
    left, right = torch.ones(1024, 384, dtype=dtype, device=device), torch.ones(384, 1536, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for the result, on a GPU too
        best = min(best, time.perf_counter() - start)
    return best
