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
    for folder in (package, package.joinpath("prompts")):
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            if file.name.endswith(_SUFFIXES) and file.is_file():
                digest.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
