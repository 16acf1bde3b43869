"""What takes long because it is large is left to the slow tests."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks the inputs that a file of this folder lists in LARGE."""
    for item in items:
        if getattr(item, "callspec", None) and item.callspec.params.get("name") in getattr(item.module, "LARGE", ()):
            item.add_marker(pytest.mark.slow)
