"""Which number format the processor is fast at, found by timing it."""

import functools
import time

import torch

from fedbbpt.errors import ConfigError


def usable_device(name: str) -> str:
    """The device of that name; `auto` is the GPU where there is one.

    Raises:
        ConfigError: it cannot be used here.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise ConfigError(f"backend.device={name!r} cannot be used here; try cpu") from e
    return device


def dtype_of(name: str, device: str) -> torch.dtype:
    """The number format of that name; `auto` is the one that the device is fast at."""
    return fast_dtype(device) if name == "auto" else getattr(torch, name)


@functools.cache
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where a ViT-sized matrix product is at least 1.5 times as fast in it as in float32, else float32.

    Probed once a process, in some milliseconds. A gap in between is rare: processors have matrix units for bfloat16
    or they emulate it.
    """
    ratio = _seconds(torch.float32, device) / _seconds(torch.bfloat16, device)
    return torch.bfloat16 if ratio >= 1.5 else torch.float32


def _seconds(dtype: torch.dtype, device: str) -> float:
    """Best of some repetitions of (1024, 384) @ (384, 1536)."""
    left, right = torch.ones(1024, 384, dtype=dtype, device=device), torch.ones(384, 1536, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for the result, on a GPU too
        best = min(best, time.perf_counter() - start)
    return best
