"""What an ablation made once is taken again, unless what it was made from has changed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from phenolip.ablation.prepare import MADE_FROM, check_knowledge_encoder, prepare_data
from phenolip.ablation.rows import AblationRow
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.reader import load_ontology

SLICE = Path(__file__).parents[1] / "ontology" / "hp_slice.obo"
PLAIN = [AblationRow("plain", "plain", "Group", None)]
COMPOUNDS = [AblationRow("compounds", "compounds", "Group", None, data="compounds")]


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for row in range(10):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
    write_metadata(folder)
    return folder


def write_metadata(folder, label="HP:9900003"):
    rows = [{"file_name": f"{row}.png", "caption": f"picture {row}", "hpo_ids": [label]} for row in range(10)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_layouts(path, edge):
    boxes = [{"box_xyxy": [0, 0, edge, 100]}, {"box_xyxy": [edge, 0, 200, 100]}]
    path.write_text(json.dumps({"figure": "f", "subfigures": boxes}))
    return str(path)


def test_data_that_changed_under_its_name_is_refused(pairs, tmp_path):
    output = tmp_path / "out"
    made = prepare_data(PLAIN, output, data=str(pairs), hpo=str(SLICE))
    shards = {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")}
    assert prepare_data(PLAIN, output, data=str(pairs), hpo=str(SLICE)) == made and made.train.keys() == {"originals"}
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")} == shards != {}
    write_metadata(pairs, "HP:9900004")  # as long as before
    with pytest.raises(ConfigurationError, match="out/data was made from .*pairs with other data than now: delete"):
        prepare_data(PLAIN, output, data=str(pairs), hpo=str(SLICE))


def test_another_ontology_is_refused_and_a_folder_that_does_not_say_is_taken(pairs, tmp_path):
    output, edited = tmp_path / "out", tmp_path / "edited.obo"
    prepare_data(PLAIN, output, data=str(pairs), hpo=str(SLICE))
    edited.write_text(SLICE.read_text().replace("name: Pale red", "name: Light red"))
    with pytest.raises(ConfigurationError, match="with other hpo than now"):
        prepare_data(PLAIN, output, data=str(pairs), hpo=str(edited))
    (output / "data" / MADE_FROM).unlink()
    prepare_data(PLAIN, output, data=str(pairs), hpo=str(edited))


def test_composites_follow_their_layouts_and_the_training_pairs(pairs, tmp_path):
    split, output = tmp_path / "split", tmp_path / "out"
    prepare_data(PLAIN, tmp_path / "first", data=str(pairs), hpo=str(SLICE))
    (tmp_path / "first" / "data").rename(split)
    options = {"data": None, "split_dir": str(split), "hpo": str(SLICE)}
    layouts = write_layouts(tmp_path / "layouts.jsonl", 80)
    made = prepare_data(COMPOUNDS, output, layouts=layouts, **options)
    assert made.train.keys() == {"originals", "compounds", "crops"}
    assert prepare_data(COMPOUNDS, output, layouts=layouts, **options) == made
    assert prepare_data(PLAIN, output, **options) == made  # no row needs them: their layouts need not be repeated
    with pytest.raises(ConfigurationError, match="with other layouts than now"):
        prepare_data(COMPOUNDS, output, **options)
    write_layouts(tmp_path / "layouts.jsonl", 120)
    with pytest.raises(ConfigurationError, match="with other layouts than now"):
        prepare_data(COMPOUNDS, output, layouts=layouts, **options)
    write_metadata(pairs, "HP:9900004")
    prepare_data(PLAIN, tmp_path / "second", data=str(pairs), hpo=str(SLICE))
    split.rename(tmp_path / "old")
    (tmp_path / "second" / "data").rename(split)
    with pytest.raises(ConfigurationError, match="out/composites was made from .* with other data than now"):
        prepare_data(PLAIN, output, **options)


def test_stage_1_of_another_config_or_ontology_is_refused(tmp_path):
    config, folder = tmp_path / "stage1.yaml", tmp_path / "stage1"
    folder.mkdir()
    settings = {"num_epochs": 3, "temperature": 0.05, "log_steps": 7, "evaluate": False}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    (folder / "run.json").write_text(json.dumps({"hpo_sha256": load_ontology(SLICE).sha256}))
    config.write_text("num_epochs: 3\ntemperature: 0.05\n")
    check_knowledge_encoder(folder, config, str(SLICE))  # how it was watched or measured does not matter
    config.write_text("num_epochs: 4\ntemperature: 0.07\n")
    expected = f"{folder} was trained with other temperature, num_epochs than {config} asks for: delete it"
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        check_knowledge_encoder(folder, config, str(SLICE))
    config.write_text("num_epochs: 3\n")
    edited = tmp_path / "edited.obo"
    edited.write_text(SLICE.read_text().replace("name: Pale red", "name: Light red"))
    with pytest.raises(ConfigurationError, match="with other temperature, hpo than"):
        check_knowledge_encoder(folder, config, str(edited))
