from pathlib import Path

import pytest
import yaml

from phenolip.exceptions import ConfigurationError
from phenolip.train import stage1
from phenolip.train.arguments import RunArguments, parse

FOLDER = Path(stage1.__file__).parent / "configs" / "stage1"
KINDS = (
    stage1.EncoderArguments,
    stage1.OntologyArguments,
    stage1.ConceptLossArguments,
    stage1.KnowledgeEvaluationArguments,
    RunArguments,
)
SHARED = ("preset", "max_length", "max_steps", "learning_rate", "head_learning_rate", "seed", "evaluation_names")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_variant_parses_and_shares_the_budget_of_all(path):
    parsed = parse(KINDS, ["--config", str(path)], description="x")
    settings = {key: value for part in parsed for key, value in vars(part).items()}
    reference = yaml.safe_load((FOLDER / "infonce.yaml").read_text())
    assert {name: settings[name] for name in SHARED} == {name: reference[name] for name in SHARED}
    assert settings["batch_size"] * settings["texts_per_concept"] == 512
    assert settings["output_dir"] == f"runs/stage1/{path.stem}"
    text = path.read_text()
    assert text.startswith("#") and f"stage1/{path.name}" in text and len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (["--path_kind_weight", "-1"], "`path_kind_weight` must be 0 or above, got -1.0"),
        (["--masked_text_fraction", "2"], "`masked_text_fraction` must be between 0 and 1, got 2.0"),
        (["--num_relatives", "-1"], "`num_relatives` must be 0 or above, got -1"),
        (["--hierarchy_weight", "-1"], "`hierarchy_weight` must be 0 or above, got -1.0"),
        (["--target_temperature", "0"], "`target_temperature` must be above 0, got 0.0"),
        (["--margin", "3"], "`margin` must be above 0 and at most 2, got 3.0"),
        (["--max_distance_edges", "0"], "`max_distance_edges` must be 1 or more, got 0"),
        (["--withheld_fraction", "1"], "`withheld_fraction` must be at least 0 and below 1, got 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ConfigurationError, match=message):
        parse(KINDS, ["--output_dir", "x", *setting], description="x")
