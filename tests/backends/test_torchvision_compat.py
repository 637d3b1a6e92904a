"""torchvision, timm and transformers import beside a torch that torchvision was not built for."""

import subprocess
import sys

# A torchvision whose compiled operators do not load: its import ends as it does beside a torch of another build.
BREAK = """
import importlib.abc, importlib.machinery, sys, torch

class Broken(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" :
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def exec_module(self, module):
        torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: dets)
        torch.library.register_fake("torchvision::qnms")(lambda dets, scores, iou_threshold: dets)

sys.meta_path.insert(0, Broken())
"""


def _python(program: str) -> str:
    strict = ("-W", "error", "-W", "ignore::DeprecationWarning")  # what dependencies deprecate fails no test
    done = subprocess.run([sys.executable, *strict, "-c", program], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_without_it_the_import_fails() -> None:
    assert "operator torchvision::nms does not exist" in _python(BREAK + "import torchvision")


def test_it_makes_the_import_work_and_says_so() -> None:
    program = (
        BREAK
        + "from fedbbpt_backends.torchvision_compat import ensure_importable as ensure\n"
        + "print(ensure(), ensure()); import torchvision"
    )
    assert _python(program).strip() == "True True"


def test_timm_and_transformers_import_with_what_is_installed_here() -> None:
    program = (
        "from fedbbpt_backends.torchvision_compat import ensure_importable; ensure_importable();"
        "import timm, torchvision; from transformers import ViTModel; print(ViTModel.__name__)"
    )
    assert "ViTModel" in _python(program).splitlines()


def test_other_errors_are_not_swallowed() -> None:
    program = (
        "import sys, types, importlib.abc, importlib.machinery\n"
        "class Bad(importlib.abc.Loader, importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torchvision': return importlib.machinery.ModuleSpec(name, self)\n"
        "    def exec_module(self, module): raise RuntimeError('something else')\n"
        "sys.meta_path.insert(0, Bad())\n"
        "from fedbbpt_backends.torchvision_compat import ensure_importable; ensure_importable()"
    )
    assert "RuntimeError: something else" in _python(program)
