import pytest
import torch
from PIL import Image
from transformers import BertTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from phenolip.processing_phenolip import PhenoLIPProcessor

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "hand", "with", "long", "fingers", "photo", "of", "."]


def tokenizer(max_length: int = 16) -> BertTokenizer:
    return BertTokenizer(
        vocab={word: index for index, word in enumerate(WORDS)},
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def processor(**changes) -> PhenoLIPProcessor:
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )
    return PhenoLIPProcessor(image_processor, tokenizer(), **changes)


def test_images_and_texts_become_inputs_of_the_model():
    inputs = processor()(
        images=[Image.new("RGB", (50, 40), (200, 127, 0)), Image.new("L", (32, 64), 255)],
        text=["long fingers", "a hand with long fingers"],
        return_tensors="pt",
    )
    assert inputs.keys() == {"pixel_values", "input_ids", "attention_mask"}
    assert inputs["pixel_values"].shape == (2, 3, 32, 32)
    expected = torch.tensor([(200 - 127) / 128, 0.0, -127 / 128])
    torch.testing.assert_close(inputs["pixel_values"][0, :, 0, 0], expected, atol=1e-6, rtol=0)
    assert inputs["input_ids"].tolist()[0] == [2, 8, 9, 3, 0, 0, 0]
    assert inputs["attention_mask"].sum(dim=1).tolist() == [4, 7]


def test_either_side_alone():
    assert processor()(text="long fingers", return_tensors="pt").keys() == {"input_ids", "attention_mask"}
    assert processor()(images=Image.new("RGB", (32, 32)), return_tensors="pt").keys() == {"pixel_values"}


def test_texts_are_cut_at_the_limit_of_the_tokenizer(tmp_path):
    made = processor()
    made.tokenizer("long " * 40, truncation=True, max_length=4)  # must not become the limit of the saved processor
    made.save_pretrained(tmp_path)
    again = PhenoLIPProcessor.from_pretrained(tmp_path)
    for each in (made, again):
        assert each(text="long " * 40, return_tensors="pt")["input_ids"].shape == (1, 16)
        assert each(text="long " * 40, max_length=8, return_tensors="pt")["input_ids"].shape == (1, 8)
        assert each(text="long " * 40, text_kwargs={"max_length": 8}, return_tensors="pt")["input_ids"].shape == (1, 8)


def test_prompt_template_goes_around_each_text(tmp_path):
    made = processor(prompt_template="a photo of {}.")
    made.save_pretrained(tmp_path)
    again = PhenoLIPProcessor.from_pretrained(tmp_path)
    assert again.prompt_template == "a photo of {}."
    for each in (made, again):
        rows = each(text=["hand", "{} hand"], return_tensors="pt")["input_ids"]
        assert rows[0].tolist()[:7] == [2, 5, 10, 11, 6, 12, 3]
    assert made(text="hand", prompt_template="{}")["input_ids"][0] == [2, 6, 3]


@pytest.mark.parametrize("template", ["no place", "{} {}", 3])
def test_a_template_without_one_place_is_refused(template):
    with pytest.raises(ValueError, match="`prompt_template` must hold '{}' once"):
        processor(prompt_template=template)
    with pytest.raises(ValueError, match="`prompt_template` must hold '{}' once"):
        processor()(text="hand", prompt_template=template)
