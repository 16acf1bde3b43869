from pathlib import Path

import pytest
import yaml

from phenolip.exceptions import ConfigurationError
from phenolip.train import detector, stage1, stage2
from phenolip.train.arguments import RunArguments, parse

CONFIGS = sorted((Path(stage1.__file__).parent / "configs").glob("*.yaml"))
STAGE1 = (
    stage1.EncoderArguments,
    stage1.OntologyArguments,
    stage1.ConceptLossArguments,
    stage1.KnowledgeEvaluationArguments,
    RunArguments,
)
DETECTOR = (detector.DetectorArguments, detector.FigureArguments, RunArguments)
STAGE2 = (stage2.ModelArguments, stage2.DataArguments, stage2.LossArguments, RunArguments)


def parse_text(tmp_path, text, argv=()):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return parse((RunArguments,), ["--config", str(path), *argv], description="x")[0]


def test_command_line_wins_and_yaml_numbers_are_numbers(tmp_path):
    run = parse_text(
        tmp_path, "output_dir: a\nlearning_rate: 1e-4\nreport_to: [x, y]\nseed: null\n", ["--batch-size", "8"]
    )
    assert (run.output_dir, run.learning_rate, run.report_to, run.batch_size, run.seed) == (
        "a",
        1e-4,
        ["x", "y"],
        8,
        0,
    )


@pytest.mark.parametrize(
    ("text", "argv", "message"),
    [
        (
            "output_dir: a\nlearning_rat: 1\n",
            [],
            r"run.yaml has the unknown key 'learning_rat'. Close: 'learning_rate'",
        ),
        (
            "output_dir: a\nlearning_rate: fast\n",
            [],
            r"learning_rate.*invalid float value: 'fast' \(from .*run.yaml\)",
        ),
        ("output_dir: a\nbatch_size: '12'x\n", [], "cannot be read as YAML"),
        ("- a\n", [], "must hold `field: value` lines, got list"),
        ("output_dir: a\nseed: {a: 1}\n", [], "'seed' must be a value or a list of values, got a mapping"),
        ("output_dir: a\nmixed_precision: fp8\n", [], "invalid choice: 'fp8'"),
        ("seed: 1\n", [], "required: --output_dir"),
        ("output_dir: a\n", ["--batchsize", "4"], "Unknown argument '--batchsize'. Close: 'batch_size'"),
        ("output_dir: a\n", ["--batch_size", "1"], "`batch_size` must be 2 or more, got 1"),
        ("output_dir: a\n", ["--seed", "-1"], "`seed` must be 0 or above"),
        ("output_dir: a\n", ["--seed", "3", "stray"], "Unexpected argument 'stray'; quote values"),
        ("output_dir: a\n", ["--warmup_fraction", "2"], "`warmup_fraction` must be between 0 and 1, got 2.0"),
    ],
)
def test_wrong_settings_end_with_one_sentence(tmp_path, text, argv, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_text(tmp_path, text, argv)


def test_missing_config_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="absent.yaml does not exist"):
        parse((RunArguments,), ["--config", str(tmp_path / "absent.yaml")], description="x")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_parses(path):
    kinds, extra = (STAGE1, []) if "stage1" in path.name else (STAGE2, ["--data", "x", "--knowledge_encoder", "y"])
    if "detector" in path.name:
        kinds, extra = DETECTOR, ["--data", "x"]
    if path.name == "adapt.yaml":
        extra = [*extra, "--init_from", "z"]
    parsed = parse(kinds, ["--config", str(path), *extra], description="x")
    assert {"output_dir"} <= set(yaml.safe_load(path.read_text())) <= {key for part in parsed for key in vars(part)}
    assert path.read_text().startswith("#") and len(path.read_text().splitlines()) < 60


def test_teacher_is_asked_for_before_anything_is_loaded():
    with pytest.raises(ConfigurationError, match="`knowledge_encoder` must name a Stage 1 folder"):
        parse(STAGE2, ["--data", "x", "--output_dir", "y"], description="x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "--distillation contrastiv",
            "`distillation` must hold .*, got 'contrastiv'. Close: 'contrastive'",
        ),
        ("--distillation cosine=0", "`distillation` must be forms with a weight above 0, got 'cosine=0'"),
        ("--distillation cosine=nan", "with a weight above 0, got 'cosine=nan'"),
        ("--distillation cosine=inf", "with a weight above 0, got 'cosine=inf'"),
        ("--distillation cosine=much", "with a weight above 0, got 'cosine=much'"),
        ("--distillation cosine=-1", "with a weight above 0, got 'cosine=-1'"),
        ("--distillation names names=2", "`distillation` must be each form once, got 'names=2'"),
        ("--caption_target_weight 2", "`caption_target_weight` must be between 0 and 1, got 2.0"),
        ("--caption_target_weight nan", "`caption_target_weight` must be between 0 and 1, got nan"),
        ("--lin_sharpness 0", "`lin_sharpness` must be above 0, got 0.0"),
        ("--closure_information -1", "`closure_information` must be 0 or above, got -1.0"),
        ("--knowledge_weight nan", "`knowledge_weight` must be 0 or above, got nan"),
        ("--cached_views 4", "`vision_blocks` must be 0 where `cached_views` is given, got None"),
        ("--cached_views 4 --vision_blocks 2", "`vision_blocks` must be 0 where `cached_views` is given, got 2"),
        ("--cached_views -1", "`cached_views` must be 0 or above, got -1"),
        ("--targets tree", "invalid choice: 'tree'"),
        ("--order sorted", "invalid choice: 'sorted'"),
        ("--rows_per_phenotype 0", "`rows_per_phenotype` must be 1 or above, got 0"),
        ("--siblings_per_group 1", "`siblings_per_group` must be 2 or above, got 1"),
        ("--first_image_size 16 --num_first_epochs 1", "`first_image_size` must be at least 32 pixels, got 16"),
        ("--first_image_size 64", "`num_first_epochs` must be above 0 where `first_image_size` is given"),
        ("--num_first_epochs 2", "`num_first_epochs` must be .* 0 where it is not, got 2"),
        ("--image_size 16 --inference_image_size 64", "`image_size` must be at least 32 pixels, got 16"),
        ("--inference_image_size 16", "`inference_image_size` must be at least 32 pixels, got 16"),
        ("--vision_dropout 1", "`vision_dropout` must be at least 0 and below 1, got 1.0"),
        ("--text_projection cubic", "invalid choice: 'cubic'"),
        ("--max_minutes -1", "`max_minutes` must be 0 or above and finite, got -1.0"),
        ("--max_minutes inf", "`max_minutes` must be 0 or above and finite, got inf"),
        ("--max_minutes nan", "`max_minutes` must be 0 or above and finite, got nan"),
        ("--num_first_epochs -1", "`num_first_epochs` must be .* 0 where it is not, got -1"),
    ],
)
def test_wrong_settings_of_stage2_end_with_one_sentence(settings, message):
    call = "--data x --output_dir y --knowledge_encoder z"
    with pytest.raises(ConfigurationError, match=message) as raised:
        parse(STAGE2, [*call.split(), *settings.split()], description="x")
    assert "\n" not in str(raised.value)


def test_forms_of_distillation_are_left_out_with_their_teacher():
    argv = ["--data", "x", "--output_dir", "y", "--knowledge_encoder", "z", "--distillation", "names=0.5", "cosine"]
    assert parse(STAGE2, argv, description="x")[2].forms() == {"names": 0.5, "cosine": 1.0}
    without = parse(STAGE2, [*argv, "--knowledge_weight", "0"], description="x")[2]
    assert without.forms() == {} and not without.needs_targets
