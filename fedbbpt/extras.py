"""The optional dependencies of fedbbpt, as its own metadata name them."""

from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

PACKAGE = "fedbbpt"
FOR_DEVELOPMENT = ("test", "all")  # extras that only work on fedbbpt itself needs


def missing_packages() -> dict[str, list[str]]:
    """By extra, the packages that are not installed, or only in a version that does not fit, as pip writes them.

    Raises:
        PackageNotFoundError: fedbbpt is not installed as a package, so that nothing says what it needs.
    """
    own = metadata.metadata(PACKAGE)
    extras = [extra for extra in own.get_all("Provides-Extra") or [] if extra not in FOR_DEVELOPMENT]
    needed = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    return {extra: [str(one) for one in _of(extra, needed) if not _is_installed(one)] for extra in extras}


def _of(extra: str, requirements: list[Requirement]) -> Iterator[Requirement]:
    """The requirements of an extra, and of those extras that it names, without their markers."""
    for one in requirements:
        if one.marker is None or not one.marker.evaluate({"extra": extra}):
            continue
        if one.name == PACKAGE:
            for inner in one.extras:
                yield from _of(inner, requirements)
        else:
            yield Requirement(f"{one.name}{one.specifier}")


def _is_installed(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False
