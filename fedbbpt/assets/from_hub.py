"""Files of a data set's repository on the Hugging Face hub, at a pinned revision."""

import logging
import os
import shutil
from pathlib import Path

from fedbbpt.assets.table import ASSETS
from fedbbpt.errors import DataError, MissingExtra


def download(name: str, folder: Path) -> Path:
    """The asset's files in a folder below the given one; HF_TOKEN and HF_ENDPOINT are the user's own.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        DataError: the hub cannot be reached, refuses, or has no such files.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import huggingface_hub
        from huggingface_hub import logging as hub_logging
    except ImportError as e:
        raise MissingExtra(f"the data set {name}", "hub", e) from e
    hub_logging.set_verbosity(logging.ERROR)  # its retries; what comes of them is said below
    asset, target = ASSETS[name], folder / "files"
    try:
        huggingface_hub.snapshot_download(
            asset.package,
            repo_type="dataset",
            revision=asset.version,
            local_dir=target,
            allow_patterns=list(asset.files),
        )
    except Exception as e:  # its errors have no common base, and come from three libraries
        reason = str(e).strip().partition("\n")[0].rstrip(".") or type(e).__name__
        raise DataError(
            f"the hub did not deliver {asset.package} ({reason}). It needs a network, for some data sets an accepted "
            "licence and HF_TOKEN; HF_ENDPOINT may name a mirror"
        ) from e
    shutil.rmtree(target / ".cache", ignore_errors=True)
    if not any(target.rglob("*.parquet")):
        raise DataError(f"the hub's {asset.package} has none of {', '.join(asset.files)} at {asset.version}")
    return target
