"""Pushing to a hub on 127.0.0.1, and pulling from it in processes in which phenolip cannot be imported."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi
from PIL import Image

from phenolip import cli
from phenolip.datasets_scripts.features import PAIRS, PHENOBENCH, RELATIONS, TERMS
from phenolip.datasets_scripts.tables import write_card as write_dataset_card
from phenolip.datasets_scripts.tables import write_parquet
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub import push as push_module
from phenolip.hub.card import write_card
from phenolip.hub.card_results import plot_results
from phenolip.hub.push import PushError, plan_push, push

MODEL, SET = "org/model", "org/phenokg"
BLOCKED = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "phenolip":
            raise ModuleNotFoundError(f"No module named '{name}' (blocked by the test)")

sys.meta_path.insert(0, Refuse())
"""
AUTO = """
from PIL import Image
from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True, revision=sys.argv[3]).eval()
processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True, revision=sys.argv[3])
inputs = processor(images=Image.open(sys.argv[2]), text=["long fingers", "a hand"], return_tensors="pt")
print(json.dumps(model(**inputs).logits_per_image.tolist()))
"""
PIPELINES = """
from transformers import pipeline
classify = pipeline("zero-shot-image-classification", model=sys.argv[1], trust_remote_code=True)
scores = classify(sys.argv[2], candidate_labels=["long fingers", "a hand"])
embed = pipeline("image-feature-extraction", model=sys.argv[1], trust_remote_code=True)
print(json.dumps([sum(row["score"] for row in scores), embed(sys.argv[2])]))
"""
LOAD = """
from datasets import load_dataset
name = None if sys.argv[2] == "default" else sys.argv[2]
rows = load_dataset(sys.argv[1], name, split=sys.argv[3], streaming=sys.argv[4] == "streaming")
first = next(iter(rows))
print(json.dumps([sorted(first), list(first["image"].size) if "image" in first else None]))
"""


def _server_module():
    spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["hub_server"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


SERVER = _server_module()


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(push_module, "WAIT_S", 0.0)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with SERVER.running_hub() as running:
        yield running


def client(hub, token="hf_write"):
    return HfApi(endpoint=hub.url, token=token)


def pull(hub, cache, code, *arguments):
    """JSON that the code prints in a fresh process, with the hub as its only endpoint."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_HUB_OFFLINE")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(cache), "HF_TOKEN": "hf_read"}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-I", "-c", BLOCKED + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cache, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture
def model_dir(tiny_model_dir, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    (folder / "run.yaml").write_text(yaml.safe_dump({"data": "/ward/7/images", "batch_size": 4}))
    (folder / "training_index.parquet").write_bytes(b"PAR1")
    (folder / "optimizer.pt").write_bytes(b"\x80\x04")
    (folder / ".env").write_text("SECRET=1")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "model.safetensors").write_bytes(b"0")
    (folder / "link.json").symlink_to("/etc/hostname")
    write_card(folder)
    return folder


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def pair(number, category="commercial", license="CC-BY-4.0", **changes):
    row = dict.fromkeys(PAIRS) | {"row_id": f"row {number}", "caption": "a", "caption_raw": "a b", "phenotypes": []}
    row |= {
        "image": {"path": "dot.png"},
        "license": license,
        "license_category": category,
        "sha256": "0",
        "figure_sha256": "0",
    }
    return row | {"findings": [], "bbox_xyxy": [], "citing_paragraphs": []} | changes


def data_dir(folder, rows, picture):
    for row in rows:
        row["image"]["bytes"] = picture.read_bytes()
    term = dict.fromkeys(TERMS) | {"hpo_id": "HP:0000118", "name": "Phenotypic abnormality"}
    edge = {"child_id": "HP:0000152", "parent_id": "HP:0000118", "predicate": "is_a"}
    tables = {"pairs": (rows, PAIRS), "terms": ([term], TERMS), "relations": ([edge], RELATIONS)}
    configs = []
    for name, (content, features) in tables.items():
        write_parquet(content, folder / name, "train", features)
        files = [{"split": "train", "path": f"{name}/train-*.parquet"}]
        configs.append({"config_name": name, "data_files": files, **({"default": True} if name == "pairs" else {})})
    write_dataset_card(folder, {"license": "other", "license_name": "of-each-row", "configs": configs}, "# PhenoKG")
    return folder


def test_a_model_goes_up_in_one_commit_and_loads_where_phenolip_is_not(hub, model_dir, picture, tmp_path):
    plan = plan_push(model_dir, MODEL)
    commit = push(plan, tag="v1", private=True, api=client(hub))
    files = hub.files(MODEL, revision="v1")
    left_out = {"training_index.parquet", "optimizer.pt", ".env", "checkpoints/model.safetensors", "link.json"}
    assert left_out == set(plan.selection.left_out)
    assert not left_out & set(files) and "model.safetensors" in files
    assert b"/ward" not in b"".join(files.values()) and b"data: images" in files["run.yaml"]
    assert b'folder = "org/model"' in files["README.md"]
    assert len(hub.sent("/commit/")) == 1 and hub.repos["models", MODEL].tags["v1"] == commit.oid
    logits = pull(hub, tmp_path, AUTO, MODEL, picture, "v1")
    assert len(logits) == 1 and len(logits[0]) == 2


@pytest.mark.slow
def test_both_pipelines_from_the_hub(hub, model_dir, picture, tmp_path):
    push(plan_push(model_dir, MODEL), api=client(hub))
    total, features = pull(hub, tmp_path, PIPELINES, MODEL, picture)
    assert total == pytest.approx(1) and len(features[0]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "streaming"])
@pytest.mark.parametrize("name", ["default", "terms"])
def test_a_data_set_from_the_hub(hub, picture, tmp_path, name, mode):
    push(plan_push(data_dir(tmp_path / "set", [pair(0)], picture), SET), api=client(hub))
    columns, size = pull(hub, tmp_path, LOAD, SET, name, "train", mode)
    assert ("hpo_id" in columns) == (name == "terms")
    assert size == ([40, 30] if name == "default" else None)


def test_a_second_try_sends_only_what_did_not_arrive(hub, model_dir):
    hub.faults += [SERVER.Fault("PUT /lfs/", "drop", 6)]
    plan = plan_push(model_dir, MODEL)
    with pytest.raises(PushError, match="The connection failed.*Nothing was published"):
        push(plan, api=client(hub))
    assert set(hub.files(MODEL)) == {".gitattributes"}
    hub.faults[:] = [SERVER.Fault("/commit/main", 503, 9)]
    with pytest.raises(PushError, match=r"several tries \(503\).*Nothing was published"):
        push(plan, api=client(hub))
    assert set(hub.files(MODEL)) == {".gitattributes"} and len(hub.sent("PUT /lfs/")) == 1
    hub.faults.clear()
    push(plan, api=client(hub))
    assert "model.safetensors" in hub.files(MODEL) and len(hub.sent("PUT /lfs/")) == 1


def test_a_passing_fault_is_tried_again(hub, model_dir):
    hub.faults += [SERVER.Fault("PUT /lfs/", 502), SERVER.Fault("/commit/main", "drop")]
    push(plan_push(model_dir, MODEL), api=client(hub))
    assert "model.safetensors" in hub.files(MODEL)


def test_what_an_earlier_push_left_goes_and_other_files_stay(hub, model_dir, picture, tmp_path):
    folder = data_dir(tmp_path / "set", [pair(0)], picture)
    push(plan_push(folder, SET), api=client(hub))
    client(hub).upload_file(path_or_fileobj=b"x", path_in_repo="notes.txt", repo_id=SET, repo_type="dataset")
    (folder / "pairs" / "train-00000-of-00001.parquet").rename(folder / "pairs" / "train-00000-of-00002.parquet")
    push(plan_push(folder, SET), api=client(hub))
    names = set(hub.files(SET, "datasets"))
    assert "notes.txt" in names and "pairs/train-00000-of-00002.parquet" in names
    assert "pairs/train-00000-of-00001.parquet" not in names


@pytest.mark.parametrize(
    ("token", "message"), [("nobody", "does not know the token"), ("hf_read", "may not write to org/model")]
)
def test_tokens_that_do_not_do(hub, model_dir, token, message):
    with pytest.raises(PushError, match=message):
        push(plan_push(model_dir, MODEL), api=client(hub, token))
    assert not hub.repos


def test_tag_and_visibility_are_checked_before_anything_is_sent(hub, model_dir):
    plan = plan_push(model_dir, MODEL)
    push(plan, tag="v1", api=client(hub))
    num_sent = len(hub.sent("POST|PUT"))
    with pytest.raises(ConfigurationError, match="`tag` must be new.*'v1'"):
        push(plan, tag="v1", api=client(hub))
    with pytest.raises(ConfigurationError, match="`private` cannot be kept"):
        push(plan, private=True, api=client(hub))
    assert len(hub.sent("POST|PUT")) == num_sent


def test_a_new_branch_leaves_main_alone(hub, model_dir):
    push(plan_push(model_dir, MODEL), revision="dev", api=client(hub))
    assert set(hub.files(MODEL)) == {".gitattributes"} and "config.json" in hub.files(MODEL, revision="dev")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "README.md").unlink(), "There is no README.md"),
        (lambda folder: (folder / "README.md").write_text("---\nlicense: [\n---\n"), "no valid front matter"),
        (lambda folder: (folder / "README.md").write_text("# Model\n"), "must state a `license`"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights as safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"0" * 64), "does not load as PhenoLIPModel"),
        (lambda folder: (folder / "modeling_efficientnet_lite.py").unlink(), "lacks modeling_efficientnet_lite.py"),
        (lambda folder: (folder / "modeling_phenolip.py").write_text("def ("), "no Python that can be read"),
        (lambda folder: (folder / "processor_config.json").unlink(), "lacks processor_config.json"),
        (lambda folder: (folder / "config.json").write_text("{}"), "names none of ours"),
        (lambda folder: (folder / "config.json").write_text("["), "no config.json that can be read"),
        (lambda folder: (folder / "run.yaml").write_text("a: hf_" + "x" * 34), "run.yaml line 1 looks like a token"),
        (lambda folder: (folder / "run.yaml").write_text("a: ["), "run.yaml cannot be read"),
    ],
)
def test_a_model_that_is_not_fit(model_dir, spoil, message):
    spoil(model_dir)
    with pytest.raises(DataError, match=message):
        plan_push(model_dir, MODEL)


def test_pages_and_pictures_that_may_show_somebody_go_up_only_where_that_is_said(model_dir):
    pytest.importorskip("matplotlib")
    (model_dir / "card").mkdir(exist_ok=True)
    pages = ["report.html", "report/hits.html", "card/patient.png", "card/map.svg", "card/hand.jpg", "card/2_x.png"]
    (model_dir / "report").mkdir()
    for name in (*pages, "predictions.jsonl"):
        (model_dir / name).write_bytes(b"x")
    pages.append("card/1_patient.png")  # called as a plot
    Image.new("RGB", (8, 8)).save(model_dir / pages[-1])
    results = {"primary_metric": "i2t_hit_at_1", "metrics": {"i2t_hit_at_1": {"value": 0.5, "ci95": [0.4, 0.6]}}}
    assert plot_results(results, model_dir / "card" / "0_phenobench.png")
    plan = plan_push(model_dir, MODEL).selection
    sent = {file.path for file in plan.files}
    assert "card/0_phenobench.png" in sent and not sent & set(pages)
    assert all("--allow_examples" in plan.left_out[name] for name in pages)
    allowed = plan_push(model_dir, MODEL, allow_examples=True).selection
    assert {file.path for file in allowed.files} == sent | set(pages) and "predictions.jsonl" in allowed.left_out


def test_a_card_that_carries_a_picture_inside_is_refused(model_dir):
    card = model_dir / "README.md"
    card.write_text(card.read_text() + '\n<img src="DATA:image/png;base64,AAAA">\n')
    with pytest.raises(DataError, match=r"README.md line \d+ carries a picture inside"):
        plan_push(model_dir, MODEL)
    assert plan_push(model_dir, MODEL, allow_examples=True)


def test_rows_that_may_not_be_shared_are_listed(picture, tmp_path):
    rows = [
        pair(0),
        pair(1, "unknown", None),
        pair(2, "no-derivatives", "CC-BY-ND-4.0"),
        pair(3, "no-derivatives", "CC-BY-ND-4.0", caption_raw="a"),  # as published
    ]
    with pytest.raises(DataError, match=r"2 of 6 rows may not be shared.*row 1 \(unknown\), row 2 \(CC-BY-ND-4.0\);"):
        plan_push(data_dir(tmp_path / "set", rows, picture), SET)


def test_a_set_without_licences_needs_one_said(picture, tmp_path):
    image = {"bytes": picture.read_bytes(), "path": None}
    row = {"image": image, "caption": "a", "phenotypes": [], "hpo_ids": [], "source": "1"}
    write_parquet([row], tmp_path / "set" / "data", "test", PHENOBENCH)
    files = {"config_name": "default", "data_files": [{"split": "test", "path": "data/test-*.parquet"}]}
    write_dataset_card(tmp_path / "set", {"license": "other", "configs": [files]}, "Source: `/ward/7/bench`")
    with pytest.raises(DataError, match="carry no licence; say which"):
        plan_push(tmp_path / "set", "org/bench")
    plan = plan_push(tmp_path / "set", "org/bench", license="cc-by-4.0")
    card = next(file.content for file in plan.selection.files if file.path == "README.md").decode()
    assert "license: cc-by-4.0" in card and "/ward" not in card and "`bench`" in card
    (tmp_path / "set" / "more").mkdir()
    shutil.copy(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", tmp_path / "set" / "more" / "x.parquet")
    with pytest.raises(DataError, match="No configuration of README.md names more/x.parquet"):
        plan_push(tmp_path / "set", "org/bench", license="cc-by-4.0")
    shutil.rmtree(tmp_path / "set" / "more")
    (tmp_path / "set" / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is no whole Parquet file"):
        plan_push(tmp_path / "set", "org/bench", license="cc-by-4.0")


@pytest.mark.parametrize("name", ["model", "a/b/c", "org/-x"])
def test_names_that_the_hub_does_not_take(model_dir, name):
    with pytest.raises(ConfigurationError, match="`repo_id` must be ORG/NAME"):
        plan_push(model_dir, name)


def test_the_command_shows_what_would_go_without_a_token(model_dir, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert cli.main(["push", str(model_dir), MODEL, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert (
        "model.safetensors" in shown and "optimizer.pt: a pickle can run code" in shown and "Nothing was sent" in shown
    )
    assert cli.main(["push", str(model_dir), MODEL]) == 2
    assert "`HF_TOKEN` must be set" in capsys.readouterr().err
