"""A page that runs, with a tiny model and two images."""

import json
import shutil
import socket

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo_pairs")
    rows = []
    for number, hpo_id in enumerate(["HP:0000518", "HP:0001166"]):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "caption": f"Number {number}.", "hpo_ids": [hpo_id]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture(scope="session")
def demo_model_dir(tiny_model_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "stage2"
    shutil.copytree(tiny_model_dir, folder)
    terms = [{"hpo_id": "HP:0000518", "name": "Cataract"}, {"hpo_id": "HP:0001166", "name": "Arachnodactyly"}]
    (folder / "phenotypes.json").write_text(json.dumps(terms))
    return folder


@pytest.fixture(scope="session")
def address(demo_model_dir, pairs):
    from phenolip.demo.app import LOOPBACK, build, launch

    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    page = build(demo_model_dir, data=pairs, second_model=demo_model_dir, device="cpu")
    launch(page, port=port, prevent_thread_lock=True, quiet=True)
    yield f"http://{LOOPBACK}:{port}"
    page.close()
