"""Uploads an exported model to the Hugging Face hub."""

from pathlib import Path

from fedbbpt.errors import ConfigError, MissingExtra, RunError
from fedbbpt.printing import excerpt


def push(folder: Path, repository: str, *, public: bool = False) -> str:
    """Uploads an exported folder; returns the address of its page. A new repository is private unless `public`.

    The key is the one that the hub's own library finds: HF_TOKEN, or what `hf auth login` stored.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        ConfigError: the name is none of a repository.
        RunError: the hub refuses, or cannot be reached.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError
    except ImportError as e:
        raise MissingExtra("--push", "hub", e) from e
    if repository.count("/") != 1:
        raise ConfigError(f"--push takes the name of a repository, OWNER/NAME, got {repository!r}")
    try:
        api = HfApi()
        page = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except HFValidationError as e:
        raise ConfigError(f"{repository!r} cannot be the name of a repository: {excerpt(str(e))}") from e
    except LocalTokenNotFoundError as e:
        raise RunError("the hub knows no key of yours; set HF_TOKEN, or call hf auth login") from e
    except Exception as e:  # its own errors, or whatever its HTTP library raises
        reason = excerpt(str(e))
        raise RunError(f"{repository} cannot be uploaded ({reason}); {folder} is complete, so push it once more") from e
    return str(page)
