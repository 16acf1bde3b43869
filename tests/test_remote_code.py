"""Saved folders must work where phenolip is not installed, through the Auto classes and the pipeline alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import BertTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor

TEXTS = ["long fingers", "a hand with long fingers", "a hand"]
BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "phenolip" or name.startswith("phenolip."):
            raise ModuleNotFoundError(f"No module named '{name}' (blocked by the test)")

sys.meta_path.insert(0, Refuse())
try:
    import phenolip
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("phenolip could be imported")
"""
WHOLE = """
import json, sys
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel, AutoModelForZeroShotImageClassification, AutoProcessor, pipeline

folder, again, picture = sys.argv[1:4]
texts = json.loads(sys.argv[4])
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
inputs = processor(images=Image.open(picture), text=texts, return_tensors="pt")
result = {"classes": [type(config).__name__, type(processor).__name__]}
for name, auto_class in (("model", AutoModel), ("zero_shot", AutoModelForZeroShotImageClassification)):
    model = auto_class.from_pretrained(folder, trust_remote_code=True).eval()
    result[name] = model(**inputs).logits_per_image.tolist()
model.save_pretrained(again)
processor.save_pretrained(again)
classify = pipeline("zero-shot-image-classification", model=again, trust_remote_code=True)
scores = classify(Image.open(picture), candidate_labels=texts, hypothesis_template="{}")
result["pipeline"] = {row["label"]: row["score"] for row in scores}
assert not any(name.split(".")[0] == "phenolip" for name in sys.modules)
print(json.dumps(result))
"""
TEXT_ONLY = """
import json, sys
from transformers import AutoModel, AutoTokenizer

folder = sys.argv[1]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
inputs = tokenizer(json.loads(sys.argv[2]), padding=True, return_tensors="pt")
print(json.dumps([type(model).__name__, model(**inputs).text_embeds.tolist()]))
"""


def run(code: str, folder: Path, *arguments: str):
    """JSON that the code prints in a process that starts outside the repository and may not import phenolip."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {
        "HF_MODULES_CACHE": str(folder / "modules"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCKED + code, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    text = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    lite = {"stem_size": 8, "hidden_sizes": [8], "depths": [2], "kernel_sizes": [3], "strides": [2]}
    config = PhenoLIPConfig(
        text_config={"tower_config": {**text, "intermediate_size": 48, "vocab_size": 13}},
        vision_config={
            "tower_config": {"model_type": "efficientnet_lite", **lite, "expand_ratios": [2], "hidden_size": 24}
        },
        projection_dim=16,
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "hand", "with", "long", "fingers", "photo", "of", "."]
    processor = PhenoLIPProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=16),
    )
    folder = tmp_path_factory.mktemp("remote")
    model = PhenoLIPModel(config).eval()
    model.save_pretrained(folder / "whole")
    processor.save_pretrained(folder / "whole")
    parts = {"num_parts": 2, "projection_dim": 32}
    sides = {name: {**config.to_dict()[name], **parts} for name in ("text_config", "vision_config")}
    joined = PhenoLIPModel(PhenoLIPConfig(**sides)).eval()
    joined.save_pretrained(folder / "joined")
    processor.save_pretrained(folder / "joined")
    model.text_model.save_pretrained(folder / "text")
    processor.tokenizer.save_pretrained(folder / "text")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8, generator=generator)
    Image.fromarray(pixels.numpy()).save(folder / "picture.png")
    return folder, {"whole": model, "joined": joined}, processor


@pytest.mark.parametrize("name", ["whole", "joined"])
def test_whole_model_through_the_auto_classes_and_the_pipeline(saved, name):
    folder, models, processor = saved
    model = models[name]
    arguments = (str(folder / name), str(folder / "again"), str(folder / "picture.png"), json.dumps(TEXTS))
    result = run(WHOLE, folder, *arguments)
    inputs = processor(images=Image.open(folder / "picture.png"), text=TEXTS, return_tensors="pt")
    logits = model(**inputs).logits_per_image.detach()
    assert result["classes"] == ["PhenoLIPConfig", "PhenoLIPProcessor"]
    for name in ("model", "zero_shot"):
        torch.testing.assert_close(torch.tensor(result[name]), logits, atol=1e-6, rtol=0)
    scores = torch.tensor([result["pipeline"][text] for text in TEXTS])
    torch.testing.assert_close(scores, logits[0].softmax(dim=-1), atol=1e-6, rtol=0)


def test_processor_of_a_folder_asks_for_no_custom_code(saved, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("asked whether to run custom code"))
    assert PhenoLIPProcessor.from_pretrained(saved[0] / "whole").tokenizer.model_max_length == 16


def test_saved_folder_holds_all_code_and_its_map(saved):
    folder, _, _ = saved
    flat = {
        "configuration_phenolip.py",
        "modeling_phenolip.py",
        "configuration_efficientnet_lite.py",
        "modeling_efficientnet_lite.py",
    }
    assert {path.name for path in (folder / "whole").glob("*.py")} == flat | {"processing_phenolip.py"}
    assert {path.name for path in (folder / "text").glob("*.py")} == flat
    config = json.loads((folder / "whole" / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoConfig": "configuration_phenolip.PhenoLIPConfig",
        "AutoModel": "modeling_phenolip.PhenoLIPModel",
        "AutoModelForZeroShotImageClassification": "modeling_phenolip.PhenoLIPModel",
    }


@pytest.mark.slow
def test_text_model_alone_is_a_knowledge_encoder(saved):
    folder, models, processor = saved
    name, embeds = run(TEXT_ONLY, folder, str(folder / "text"), json.dumps(TEXTS))
    assert name == "PhenoLIPTextModel"
    inputs = processor(text=TEXTS, return_tensors="pt")
    torch.testing.assert_close(
        torch.tensor(embeds), models["whole"].get_text_features(**inputs).detach(), atol=1e-6, rtol=0
    )
