"""Lets the reference find the package by its name: the repository root is `phenolip`, whatever its folder is."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mkdocs.plugins import event_priority

_LINKS = TemporaryDirectory(prefix="phenolip_docs_")  # removed when the build ends


@event_priority(100)  # before mkdocstrings reads where to look
def on_config(config):
    """Called by mkdocs once its settings are read."""
    root = Path(config.config_file_path).parent
    link = Path(_LINKS.name) / "phenolip"
    if not link.exists():
        link.symlink_to(root, target_is_directory=True)
    config.plugins["mkdocstrings"].config["handlers"]["python"]["paths"] = [_LINKS.name]
    return config
