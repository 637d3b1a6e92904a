"""Downloads files of a data set from the Hugging Face hub, at a pinned revision."""

import logging
import os
import shutil
from pathlib import Path

from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.errors import DataError, MissingExtra


def download(name: str, folder: Path) -> Path:
    """Downloads the asset's files to a folder inside the given one; the user's HF_TOKEN and HF_ENDPOINT apply.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        DataError: the hub is unreachable, refuses, or has no such files.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import huggingface_hub
        from huggingface_hub import logging as hub_logging
    except ImportError as e:
        raise MissingExtra(f"the data set {name}", "hub", e) from e
    hub_logging.set_verbosity(logging.ERROR)  # not its retries: the error below tells how they ended
    asset, target = ASSETS[name], folder / "files"
    try:
        huggingface_hub.snapshot_download(
            asset.package,
            repo_type="dataset",
            revision=asset.version,
            local_dir=target,
            allow_patterns=list(asset.files),
        )
    except Exception as e:  # they have no common base class and come from three libraries
        reason = str(e).strip().partition("\n")[0].rstrip(".") or type(e).__name__
        raise DataError(
            f"the hub did not deliver {asset.package} ({reason}). It needs a network, for some data sets an accepted "
            "licence and HF_TOKEN; HF_ENDPOINT may name a mirror"
        ) from e
    shutil.rmtree(target / ".cache", ignore_errors=True)
    if not any(target.rglob("*.parquet")):
        raise DataError(f"the hub's {asset.package} has none of {', '.join(asset.files)} at {asset.version}")
    return target
