"""The models that a configuration names."""

import pytest

from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.phenokg.backends.chat_config import ChatConfig, make_cache, make_chat_model
from phenolip.phenokg.backends.openai_compatible import OpenAICompatibleChat
from phenolip.phenokg.backends.transformers_chat import TransformersChat


def test_each_back_end_is_made_from_its_settings(tmp_path):
    assert make_chat_model(ChatConfig()) is None and make_cache(ChatConfig()) is None
    endpoint = make_chat_model(ChatConfig(back_end="openai_compatible", model="m"))
    other = make_chat_model(ChatConfig(back_end="openai_compatible", model="m", extra_body='{"seed": 1}'))
    assert isinstance(endpoint, OpenAICompatibleChat) and endpoint.model_id == "m" != other.model_id
    local = make_chat_model(ChatConfig(back_end="transformers", model="org/name", revision="v2"))
    assert isinstance(local, TransformersChat) and local.model_id == "transformers:org/name@v2"
    assert isinstance(make_cache(ChatConfig(cache=str(tmp_path / "answers.sqlite"))), AnswerCache)


@pytest.mark.slow
def test_importing_the_back_ends_is_light():
    import subprocess
    import sys

    code = (
        "import sys, phenolip.phenokg.refine_captions, phenolip.phenokg.split_by_model;"
        "import phenolip.phenokg.backends.openai_compatible, phenolip.phenokg.backends.transformers_chat;"
        "heavy = {'torch', 'transformers', 'pronto'} & set(sys.modules); assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
