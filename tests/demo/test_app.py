"""The page builds, answers over its own client-side API, keeps to itself, and says what is wrong."""

import socket

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")

from phenolip.cli import demo as demo_command
from phenolip.demo.app import LOOPBACK, launch, main
from phenolip.exceptions import ConfigurationError


def test_the_page_loads_nothing_from_elsewhere(address):
    import httpx

    text = httpx.get(address, timeout=60).text
    assert "fonts.googleapis" not in text and "not for diagnosis" in text
    config = httpx.get(f"{address}/config", timeout=60).json()
    assert config["analytics_enabled"] is False


def test_answers_of_every_tab(address, pairs):
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False)
    ranked, _, heat, words, tree = client.predict(handle_file(str(pairs / "0.png")), api_name="/rank")
    assert "Cataract" in ranked and "ph-tree" in tree and "<h3>" in words
    assert "data:image/jpeg" in heat
    heat, words = client.predict(handle_file(str(pairs / "0.png")), "HP:0001166", "occlusion", api_name="/explain")
    assert "Arachnodactyly" in words and heat
    assert client.predict("HP:0000518", api_name="/search").count("<figure>") == 2
    assert len(client.predict(handle_file(str(pairs / "1.png")), api_name="/compare")) == 4
    with pytest.raises(Exception, match="Choose an image first"):
        client.predict(None, api_name="/rank")


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
