"""A tiny random causal model behind the seam: same answers alone and in a batch, and failures with their reasons."""

import string

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.backends.chat import Failure, Message
from phenolip.phenokg.backends.transformers_chat import TransformersChat

TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + TEMPLATE


def save_model(folder, template=TEMPLATE):
    pieces = ["<pad>", "<s>", "</s>", "<unk>", *string.ascii_letters, *string.digits, *" .,:;-()/<>{}[]\"'"]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=template,
        model_max_length=200,
    )  # fmt: skip
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = LlamaConfig(vocab_size=len(pieces), max_position_embeddings=256, bos_token_id=1, eos_token_id=2, **sizes)
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = [2, *range(4, 60)]  # letters end an answer: random ones would not
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("chat"))


def conversation(text):
    return (Message("system", "Be good."), Message("user", text))


def outcomes(model, texts, max_new_tokens=20):
    found = dict(model.complete([conversation(text) for text in texts], max_new_tokens=max_new_tokens))
    assert sorted(found) == list(range(len(texts)))
    return [found[place] for place in range(len(texts))]


def test_answers_do_not_depend_on_the_batch(folder):
    texts = ["one", "a longer question", "two", "w " * 30, "lone \ud800 surrogate"]
    alone = outcomes(TransformersChat(str(folder), batch_size=1), texts)
    assert outcomes(TransformersChat(str(folder), batch_size=3), texts) == alone
    assert len({str(answer) for answer in alone}) > 1


def test_too_long_and_cut_off(folder):
    (long,) = outcomes(TransformersChat(str(folder)), ["w" * 300], max_new_tokens=1)
    assert long.reason == "too_long" and long.detail.endswith(" tokens, 199 fit")
    model = TransformersChat(str(folder))
    loaded, _ = model._load()
    loaded.generation_config.eos_token_id = 3  # never said
    assert outcomes(model, ["yes"], max_new_tokens=2)[0].reason == "cut_off"


def test_memory_that_does_not_suffice_halves_the_batch_and_at_last_fails(folder, monkeypatch):
    model = TransformersChat(str(folder), batch_size=4)
    loaded, _ = model._load()
    whole = loaded.generate

    def generate(input_ids, **rest):
        if len(input_ids) > 1 or input_ids.shape[1] > 100:
            raise torch.OutOfMemoryError
        return whole(input_ids=input_ids, **rest)

    monkeypatch.setattr(loaded, "generate", generate)
    found = outcomes(model, ["one", "two", "w" * 100])
    assert [isinstance(each, Failure) and each.reason for each in found][-1] == "out_of_memory"
    assert found[:2] == outcomes(TransformersChat(str(folder)), ["one", "two"])


def test_templates_without_system_turns_and_models_without_a_template(tmp_path):
    model = TransformersChat(str(save_model(tmp_path / "a", NO_SYSTEM)))
    _, tokenizer = model._load()
    assert tokenizer.decode(model._prompt(tokenizer, conversation("one"))).startswith("<s>user: Be good.")
    with pytest.raises(ConfigurationError, match="must have a chat template"):
        outcomes(TransformersChat(str(save_model(tmp_path / "b", None))), ["one"])
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        outcomes(TransformersChat(str(tmp_path)), ["one"])
    with pytest.raises(ConfigurationError, match="`batch_size` must be 1 or more"):
        TransformersChat("model", batch_size=0)


def test_the_id_changes_with_the_files(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = TransformersChat(str(tmp_path)).model_id
    assert TransformersChat(str(tmp_path)).model_id == before
    (tmp_path / "config.json").write_text("{ }")
    assert TransformersChat(str(tmp_path)).model_id != before
