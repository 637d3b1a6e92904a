"""Lets torchvision import beside a torch that it was not built for.

timm and transformers import torchvision, and `pip` brings a build of it that may not match the installed torch; then
its compiled operators are missing and the import ends with "operator torchvision::nms does not exist". None of those
operators is needed here, but their schemas are: torchvision registers fake kernels for them while it is imported.
"""

import sys

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_keep_alive: list[object] = []  # a library's schemas go when it is collected


def ensure_importable() -> bool:
    """Makes `import torchvision` work; True if it had to be mended, False if it is sound or not installed."""
    if _keep_alive:
        return True
    try:
        import torchvision
    except ModuleNotFoundError:
        return False
    except RuntimeError as e:
        if "torchvision::" not in str(e):
            raise
    else:
        return False
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    _keep_alive.append(library)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    import torchvision  # noqa: F401

    return True
