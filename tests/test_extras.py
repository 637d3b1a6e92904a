"""What the extras lack."""

from importlib import metadata

import pytest

from fedbbpt.extras import missing_packages

DECLARED = [
    "numpy>=2",
    'pyarrow>=17; extra == "parquet"',
    'fedbbpt[parquet]; extra == "hub"',
    'huggingface_hub>=0.34; extra == "hub"',
    'oldpkg==2.*; python_version >= "3" and extra == "http"',
    'pytest; extra == "test"',
]


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata of fedbbpt, and three installed packages."""
    installed = {"numpy": "2.1", "huggingface_hub": "1.0", "oldpkg": "1.9"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    class Own:
        def get_all(self, field: str) -> list[str]:
            return ["parquet", "hub", "http", "test"]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "metadata", lambda name: Own())
    monkeypatch.setattr(metadata, "requires", lambda name: DECLARED)


def test_an_extra_lacks_what_is_not_installed_or_too_old(declared: None) -> None:
    missing = missing_packages()
    assert missing["parquet"] == ["pyarrow>=17"]
    assert missing["http"] == ["oldpkg==2.*"]


def test_an_extra_holds_the_extras_that_it_names(declared: None) -> None:
    assert missing_packages()["hub"] == ["pyarrow>=17"]


def test_extras_for_development_are_left_out(declared: None) -> None:
    assert "test" not in missing_packages()


def test_the_installed_package_has_extras() -> None:
    assert {"local", "serve", "federation"} <= missing_packages().keys()
