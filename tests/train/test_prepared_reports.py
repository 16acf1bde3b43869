"""From images and reports to a model: prepared, then two steps of training on their findings."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from phenolip.cli import main
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train import stage2

CONFIG = Path(stage2.__file__).parent / "configs" / "medclip.yaml"
FOUND = ("small left pleural effusion", "mild cardiomegaly", "right pneumothorax", "left basilar atelectasis")


def test_prepared_reports_train_with_findings(tiny_model_dir, tmp_path):
    table = ["image_path,report,patient_id"]
    for row, found in enumerate(FOUND):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
        table.append(f"{row}.png,IMPRESSION: There is a {found}.,p{row}")
    (tmp_path / "list.csv").write_text("\n".join(table) + "\n")
    source, output = tmp_path / "list.csv", tmp_path / "out"
    assert main(["prepare", "reports", "--layout", "table", "--source", str(source), "--output", str(output)]) == 0

    model = PhenoLIPModel.from_pretrained(tiny_model_dir)
    for name, side in (("text", model.text_model), ("vision", model.vision_model)):
        side.save_pretrained(tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "text" / file).write_bytes((tiny_model_dir / file).read_bytes())
    call = f"--config {CONFIG} --data {output} --split train --output_dir {tmp_path / 'model'} --image_size 32"
    call += f" --text_path {tmp_path / 'text'} --vision_path {tmp_path / 'vision'} --max_length 64"
    stage2.main([*call.split(), *"--batch_size 2 --max_steps 2 --log_steps 1 --num_threads 1".split()])
    lines = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2] and lines[0]["matching_ce"] > 0
    assert (tmp_path / "model" / "knowledge.json").is_file()
