"""The configs of the ablation: each is a whole run, and rows differ in nothing but what they say."""

from pathlib import Path

import pytest

from phenolip.train import stage2
from phenolip.train.arguments import RunArguments, parse

FOLDER = Path(stage2.__file__).parent / "configs" / "ablation"
CONFIGS = sorted(FOLDER.glob("*/*.yaml"))
KINDS = (stage2.ModelArguments, stage2.DataArguments, stage2.LossArguments, RunArguments)


def settings(path, *argv):
    parsed = parse(KINDS, ["--config", str(path), "--data", "pairs", *argv], description="x")
    return {key: value for part in parsed for key, value in vars(part).items()}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_config_is_a_whole_run_and_says_how_to_start_it(path):
    text = path.read_text()
    command = next(line for line in text.splitlines() if "accelerate launch" in line)
    assert text.startswith("#") and f"ablation/{path.parent.name}/{path.name} --data" in command
    assert len(text.splitlines()) < 60
    teacher = ["--knowledge_encoder", "x"] if "--knowledge_encoder" in command else []  # the command must be enough
    read = settings(path, *teacher)
    assert read["preset"] == path.parent.name and read["output_dir"].endswith(f"/{path.stem}")
    assert read["knowledge_encoder"] or not (read["knowledge_weight"] or read["init_from_teacher"])


@pytest.mark.parametrize(
    ("row", "other", "changes"),
    [
        ("1_scratch_kb", "2_clip_kb", {"random_vision"}),
        ("2_clip_kb", "3_biomedclip_kb", {"vision_path"}),
        ("2_clip_kb", "4_clip_pmb", {"init_from_teacher", "text_path"}),
        ("4_clip_pmb", "5_biomedclip_pmb", {"vision_path"}),
        ("4_clip_pmb", "6_clip_pmb_kd", {"knowledge_weight"}),
        ("6_clip_pmb_kd", "7_clip_pmb_kd_curated", set()),  # other data
        ("7_clip_pmb_kd_curated", "8_biomedclip_pmb_kd_curated", {"vision_path"}),
    ],
)
def test_the_papers_rows_differ_in_what_its_table_says(row, other, changes):
    first, second = (settings(FOLDER / "base" / f"{name}.yaml") for name in (row, other))
    differ = {name for name in first if first[name] != second[name]}
    assert differ - {"output_dir", "knowledge_encoder"} == changes
    assert len(list((FOLDER / "base").glob("*.yaml"))) == 8
