"""Makes torchvision importable beside a torch that it was not built for.

timm and transformers import torchvision, and `pip` may install a build that does not match the installed torch. Then
its compiled operators are missing, and the import fails with "operator torchvision::nms does not exist". None of those
operators is needed here, but their schemas are: torchvision registers fake kernels for them on import.
"""

import sys

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_keep_alive: list[object] = []  # a library's schemas vanish when it is garbage-collected


def ensure_importable() -> bool:
    """Makes `import torchvision` work; returns whether it had to define schemas for that."""
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
        del sys.modules[name]  # partially imported
    import torchvision  # noqa: F401

    return True
