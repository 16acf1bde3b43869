"""Data flows one way: a folder imports from itself and from the layers above it; the Hub files stand alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    *(
        "ontology",
        "phenokg",
        "datasets_scripts",
        "hub_files",
        "train",
        "inference",
        "eval",
        "ablation",
        "hub",
        "demo",
        "forget",
        "cli",
    ),
)
HUB_FILES = sorted(
    path.stem for path in ROOT.glob("*_*.py") if path.stem.startswith(("modeling", "config", "processing"))
)
SHARED = (
    "command_line",
    "dicom_images",
    "exceptions",
    "floors",
    "images",
    "near_copies",
    "plain_yaml",
    "provenance",
    "whole_files",
)
ENTRY_SCRIPTS = tuple(ROOT / "train" / f"{name}.py" for name in ("stage1", "stage2", "detector"))  # name an evaluator
HUB_IMPORTS = {"torch", "transformers", "PIL", "numpy", "huggingface_hub", "safetensors"}
STANDARD = {"collections", "copy", "dataclasses", "functools", "json", "math", "os", "pathlib", "typing", "warnings"}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def layer_of(module):
    name = module.split(".")[1] if "." in module else ""
    return "hub_files" if name in HUB_FILES else name


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer != "hub_files"])
def test_no_import_goes_backward(layer):
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], *SHARED, ""}
    files = [path for path in (ROOT / layer).rglob("*.py") if path not in ENTRY_SCRIPTS]
    assert files
    for path in files:
        ours = [module for module in imported_modules(path) if module.split(".")[0] == "phenolip"]
        backward = [module for module in ours if layer_of(module) not in allowed]
        assert not backward, f"{path.relative_to(ROOT)} imports {backward}"


@pytest.mark.parametrize("name", HUB_FILES)
def test_hub_files_stand_alone(name):
    modules = list(imported_modules(ROOT / f"{name}.py"))
    foreign = [m for m in modules if not m.startswith(".") and m.split(".")[0] not in HUB_IMPORTS | STANDARD]
    relative = [m for m in modules if m.startswith(".") and m.lstrip(".") not in HUB_FILES]
    assert not foreign and not relative


def test_the_package_and_its_command_import_light():
    import subprocess
    import sys

    code = (
        "import sys, phenolip, phenolip.cli; phenolip.cli.main(['ontology', 'show', 'HP:0001166']);"
        "heavy = {'torch', 'transformers', 'datasets', 'pronto', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Arachnodactyly" in ended.stdout
