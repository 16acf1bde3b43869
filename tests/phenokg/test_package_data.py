"""Lists and weights that a person changes count as a change of every step that may read them."""

import shutil
from pathlib import Path

import pytest

from phenolip.phenokg import build_config, extract_findings, package_data
from phenolip.phenokg.build_config import Stage
from phenolip.phenokg.package_data import package_data_sha256
from phenolip.phenokg.refine_captions import RefineConfig
from phenolip.phenokg.steps import find_step


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the lists and weights that may be changed."""
    source = Path(package_data.__file__).parent
    for file in source.glob("*/*"):
        if file.suffix in (".yaml", ".npz", ".json"):
            (tmp_path / file.parent.name).mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / file.relative_to(source))
    monkeypatch.setattr(package_data, "files", lambda _: tmp_path)
    yield tmp_path
    package_data_sha256.cache_clear()


@pytest.mark.parametrize(
    "name",
    [
        "captions/modality_words.yaml",
        "alignment/glyphs.npz",
        "subfigures/separator_weights.json",
        "prompts/refine_caption.yaml",
    ],
)
def test_a_changed_file_changes_the_hash(copied, name):
    package_data_sha256.cache_clear()
    before = package_data_sha256()
    package_data_sha256.cache_clear()
    assert package_data_sha256() == before
    with (copied / name).open("ab") as file:
        file.write(b"\n")
    package_data_sha256.cache_clear()
    assert package_data_sha256() != before


def test_steps_and_findings_are_others_once_a_list_has_changed(monkeypatch):
    stage = Stage(find_step("refine_captions", in_build=True), RefineConfig())
    before = stage.identity, extract_findings.FindingExtractor(extract_findings.ExtractConfig()).key("Effusion.")
    for module in (build_config, extract_findings):
        monkeypatch.setattr(module, "package_data_sha256", lambda: "changed")
    after = stage.identity, extract_findings.FindingExtractor(extract_findings.ExtractConfig()).key("Effusion.")
    assert before[0] != after[0] and before[1] != after[1]
