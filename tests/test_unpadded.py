"""Texts read end to end, without padding: the same outputs and gradients as one padded batch."""

import copy

import pytest
import torch

from phenolip.configuration_phenolip import TEXT_POOLINGS, PhenoLIPTextConfig
from phenolip.modeling_phenolip import UNPADDED, PhenoLIPTextModel, unpadded_attention
from phenolip.train.tower_layers import choose_attention

SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 64,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}


def text_model(tower: str, pooling: str = "mean") -> PhenoLIPTextModel:
    torch.manual_seed(0)
    config = PhenoLIPTextConfig(tower_config={"model_type": tower, **SIZE}, pooling=pooling, projection_dim=16)
    return PhenoLIPTextModel(config).eval()


def texts(lengths=(9, 4, 7, 2, 12, 4)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.ones(len(lengths), max(lengths) + 3, dtype=torch.long)
    for row, length in zip(input_ids, lengths, strict=True):
        row[:length] = torch.randint(5, 64, (length,), generator=generator)
    return {"input_ids": input_ids, "attention_mask": (input_ids != 1).long()}


@pytest.mark.parametrize("tower", ["bert", "roberta"])
@pytest.mark.parametrize("pooling", TEXT_POOLINGS["bert"])
@pytest.mark.parametrize("chunk_size", [1, 4, 64])
def test_unpadded_equals_padded(tower, pooling, chunk_size):
    padded = text_model(tower, pooling)
    unpadded = copy.deepcopy(padded)
    unpadded.set_attn_implementation(UNPADDED)
    weight = torch.randn(6, 16)
    one, two = padded(**texts()), unpadded(**texts(), chunk_size=chunk_size)
    torch.testing.assert_close(two.text_embeds, one.text_embeds, atol=1e-6, rtol=0)
    (one.text_embeds * weight).sum().backward()
    (two.text_embeds * weight).sum().backward()
    for (name, left), right in zip(padded.named_parameters(), unpadded.parameters(), strict=True):
        bound = 1e-5 * max(1.0, float(left.grad.abs().max()))
        torch.testing.assert_close(left.grad, right.grad, atol=bound, rtol=0, msg=name)


def test_unpadded_reads_no_padding():
    model = text_model("bert")
    model.set_attn_implementation(UNPADDED)
    shapes = []
    model.tower.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    model(**texts(), chunk_size=4)
    assert shapes == [(1, 2 + 4 + 4 + 7), (1, 9 + 12)]


def test_without_chunks_it_is_plain_attention():
    model = text_model("bert")
    plain = model(**texts()).text_embeds
    model.set_attn_implementation(UNPADDED)
    torch.testing.assert_close(model(**texts()).text_embeds, plain, atol=1e-6, rtol=0)


def test_checkpointed_layers_know_the_lengths_again():
    plain = text_model("bert").train()
    for module in plain.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    plain.set_attn_implementation(UNPADDED)
    checkpointed = copy.deepcopy(plain)
    checkpointed.activation_checkpointing_enable()
    for model in (plain, checkpointed):
        model(**texts(), chunk_size=64).text_embeds[:, 0].sum().backward()
    for one, two in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4)


def test_widths_are_multiples():
    model = text_model("bert")
    model.width_multiple = 8
    widths = []
    model.tower.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    chunked = model(**texts(), chunk_size=2).text_embeds
    assert widths == [8, 8, 15]  # the last stops at the batch's own width
    torch.testing.assert_close(chunked, text_model("bert")(**texts()).text_embeds, atol=1e-6, rtol=0)


def test_texts_do_not_see_each_other():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 7, 4)
    together, _ = unpadded_attention(torch.nn.Module(), query, key, value, None, text_lengths=[3, 4])
    for part in (slice(0, 3), slice(3, 7)):
        cut = (query[:, :, part], key[:, :, part], value[:, :, part])
        alone = torch.nn.functional.scaled_dot_product_attention(*cut).transpose(1, 2)
        torch.testing.assert_close(together[:, part], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("width", "is_unpadded"), [(768, True), (384, False)])
def test_training_reads_wide_towers_end_to_end(width, is_unpadded):
    size = {**SIZE, "hidden_size": width, "num_hidden_layers": 1, "model_type": "bert"}
    model = PhenoLIPTextModel(PhenoLIPTextConfig(tower_config=size, pooling="cls", projection_dim=16))
    choose_attention(model, torch.device("cpu"))
    assert (model.tower.config._attn_implementation == UNPADDED) is is_unpadded
