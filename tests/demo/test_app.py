"""The page builds, answers over its own client-side API, keeps to itself, and says what is wrong."""

import socket

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")

from phenolip.cli import demo as demo_command
from phenolip.demo.app import LOOPBACK, launch, main
from phenolip.demo.page import NUM_AT_ONCE, build_page
from phenolip.demo.service import DemoModel
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.reader import load_ontology


def test_the_page_loads_nothing_from_elsewhere(address):
    import httpx

    text = httpx.get(address, timeout=60).text
    assert "fonts.googleapis" not in text and "not for diagnosis" in text
    config = httpx.get(f"{address}/config", timeout=60).json()
    assert config["analytics_enabled"] is False


def test_answers_of_every_tab(address, pairs):
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False)
    ranked, _, waiting, words, tree = client.predict(handle_file(str(pairs / "0.png")), api_name="/rank")
    assert "Cataract" in ranked and "ph-tree" in tree and "<h3>" in words
    assert "being computed" in waiting  # the map comes after, by a request of its own
    heat, words = client.predict(handle_file(str(pairs / "0.png")), "HP:0001166", "occlusion", api_name="/explain")
    assert "Arachnodactyly" in words and "data:image/jpeg" in heat
    assert client.predict("HP:0000518", api_name="/search").count("<figure>") == 2
    assert len(client.predict(handle_file(str(pairs / "1.png")), api_name="/compare")) == 4
    maps = client.predict(handle_file(str(pairs / "1.png")), api_name="/compare_maps")
    assert ["data:image/jpeg" in one for one in maps] == [True, True]
    with pytest.raises(Exception, match="Choose an image first"):
        client.predict(None, api_name="/rank")


def test_requests_to_the_model_share_one_limit(demo_model_dir):
    """With a limit each, five kinds of request would be ten at a time."""
    model = DemoModel.from_pretrained(demo_model_dir, load_ontology(), "cpu")
    page = build_page(model, second=model)
    limits = {(fn.concurrency_id, fn.concurrency_limit) for fn in page.fns.values()}
    assert len(page.fns) == 6 and limits == {("model", NUM_AT_ONCE)}


def test_wrong_calls(monkeypatch):
    monkeypatch.delenv("PHENOLIP_MODEL", raising=False)
    with pytest.raises(ConfigurationError, match="PHENOLIP_MODEL must name a model"):
        main()
    import gradio as gr

    with gr.Blocks() as page:
        gr.Markdown("nothing")
    with pytest.raises(ConfigurationError, match="`port` must be from 1 to 65535, got 0"):
        launch(page, port=0)
    with socket.socket() as taken, pytest.raises(ConfigurationError, match="cannot be used"):
        taken.bind((LOOPBACK, 0))
        taken.listen()
        launch(page, port=taken.getsockname()[1])


def test_help_says_what_it_is_not_for(capsys):
    import argparse

    parser = argparse.ArgumentParser()
    demo_command.add_arguments(parser)
    assert "not for diagnosis" in parser.format_help()
    assert parser.parse_args(["--model", "m"]).host == LOOPBACK
