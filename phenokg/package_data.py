"""The lists, prompts and weights that come with the steps, as one hash: who changes one gets other records."""

import hashlib
from functools import cache
from importlib.resources import files

_SUFFIXES = (".yaml", ".json", ".npz")


@cache
def package_data_sha256() -> str:
    """Over the names and contents of all of them; of a process, as they were when it first asked."""
    digest = hashlib.sha256()
    package = files("phenolip.phenokg")
    folders = [package, *(folder for folder in package.iterdir() if folder.is_dir() and folder.name != "configs")]
    listed = [file for folder in folders for file in folder.iterdir() if file.name.endswith(_SUFFIXES)]
    for file in sorted(listed, key=lambda file: file.name):
        digest.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
