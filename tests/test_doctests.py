import doctest
import importlib
import pkgutil

import pytest

import phenolip

MODULES = [
    module.name
    for package in ("ontology", "phenokg", "datasets_scripts", "train", "inference", "eval", "ablation", "hub")
    for module in pkgutil.walk_packages(
        importlib.import_module(f"phenolip.{package}").__path__, f"phenolip.{package}."
    )
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.startswith("phenolip"):
            raise
        pytest.skip(f"{error.name} comes with an extra")
    failed, _ = doctest.testmod(module)
    assert failed == 0


def test_the_lazy_names_of_the_package_exist():
    assert all(getattr(phenolip, name) is not None for name in phenolip.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        _ = phenolip.absent
