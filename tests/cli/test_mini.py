"""`phenolip mini`: which steps it plans and what its last words say."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import main, mini
from phenolip.datasets_scripts.load import load_pairs


def write_results(output, *, n, contamination=None, metrics=None, also=()):
    (output / "data").mkdir()
    (output / "data" / "manifest.json").write_text(json.dumps({"num_rows": {"train": 70}, "also": also}))
    names = [f"{direction}_hit_at_{k}" for direction in ("i2t", "t2i", "i2p", "p2i") for k in range(1, 51)]
    values = {name: {"value": int(name.rsplit("_", 1)[1]) / 100, "ci95": [0.0, 0.5], "n": n} for name in names}
    results = {
        "task": "phenobench_ontology",
        "n": n,
        "num_candidates": 20,
        "ks": [1, 5, 10, 50],
        "metrics": values if metrics is None else metrics,
        "contamination": contamination,
    }
    (output / "eval").mkdir()
    (output / "eval" / "results.json").write_text(json.dumps(results))


def test_mini_plans_the_whole_chain(tmp_path):
    settings = {"extra": ["more"], "validation_fraction": 0.1, "max_bad_fraction": 0.01, "members": 1}
    steps = mini.plan_steps(tmp_path, "my_pairs", knowledge_encoder=None, **settings)
    assert [step.name for step in steps] == ["stage1", "data", "stage2", "eval"]
    train2 = steps[2].command
    assert "more" not in train2 and "--extra_data" not in train2  # the data step adds what may be trained on
    assert steps[1].command[-4:] == ["--label", "also", "--also", "more"] and "extra pairs" in steps[1].title
    assert train2[train2.index("--knowledge_encoder") + 1] == str(tmp_path / "stage1")
    shorter = mini.plan_steps(tmp_path, "my_pairs", knowledge_encoder="teacher", **settings)
    assert [step.name for step in shorter] == ["data", "stage2", "eval"]
    assert "teacher" in shorter[1].command
    settings["extra"] = []
    data = mini.plan_steps(tmp_path, "my_pairs", knowledge_encoder=None, **settings)[1]
    assert "--also" not in data.command and "extra" not in data.title
    assert data.title.startswith("Hold 10 % of the pairs out")


def test_members_differ_in_their_seed_alone_and_are_joined(tmp_path):
    settings = {"extra": [], "validation_fraction": 0.1, "max_bad_fraction": 0.01, "members": 3}
    steps = mini.plan_steps(tmp_path, "my_pairs", knowledge_encoder="teacher", **settings)
    assert [step.name for step in steps] == ["data", "stage2_0", "stage2_1", "stage2_2", "stage2", "eval"]
    runs, join = [step.command for step in steps[1:4]], steps[4].command
    folders = [run[run.index("--output_dir") + 1] for run in runs]
    assert join[join.index("join") + 1 :] == [*folders, "--output", str(tmp_path / "stage2"), "--overwrite"]
    assert [run[run.index("--seed") + 1] for run in runs] == ["0", "1", "2"]
    same = [
        [part for part in run if part not in (folder, seed)]
        for run, folder, seed in zip(runs, folders, "012", strict=True)
    ]
    assert same[0] == same[1] == same[2]
    assert "--model" in steps[5].command and str(tmp_path / "stage2") in steps[5].command


def test_a_model_has_at_least_one_member(tmp_path, capsys):
    assert main(["mini", "--data", "pairs", "--output", str(tmp_path), "--members", "0"]) == 2
    assert "`--members` must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(("n", "cutoff"), [(139, 2), (20, 1), (361, 5), (418, 6), (722, 10), (3000, 42)])
def test_the_summary_shows_the_cutoff_that_is_as_hard_as_10_of_722(tmp_path, n, cutoff):
    write_results(tmp_path, n=n)
    text = mini.summary(tmp_path, 90)
    assert "Finished in 1.5 minutes." in text and f"{n} pairs held out, 20 candidate phenotypes." in text
    for direction in ("i2t", "t2i", "i2p", "p2i"):
        (line,) = [line for line in text.splitlines() if f"{direction}_hit_at_" in line]
        assert line.split()[:2] == [f"{direction}_hit_at_{cutoff}", f"{cutoff:.1f}"]


def test_the_summary_speaks_of_images_that_were_trained_on(tmp_path):
    write_results(tmp_path, n=40, contamination={"num_rows_in_training": 3, "fraction": 0.075}, metrics={})
    assert "3 of them show image files that the model was trained on" in mini.summary(tmp_path, 1)


@pytest.mark.parametrize("contamination", [None, {"num_rows_in_training": 0, "fraction": 0.0}])
def test_the_summary_is_silent_where_none_was(tmp_path, contamination):
    write_results(tmp_path, n=40, contamination=contamination, metrics={})
    assert "flatter" not in mini.summary(tmp_path, 1)


def test_the_summary_counts_what_was_trained_on(tmp_path):
    also = [{"source": "more", "num_rows_added": 30, "num_rows_linked_to_validation": 2}]
    write_results(tmp_path, n=40, metrics={}, also=also)
    text = mini.summary(tmp_path, 1)
    assert "70 pairs trained on." in text and "30 of them from more; 2 more are left out" in text


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)


def write_pairs(folder, rows):
    """An ImageFolder of (picture, caption, patient)."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, (image, caption, patient) in enumerate(rows):
        image.save(folder / "images" / f"{number}.png")
        line = {"file_name": f"images/{number}.png", "caption": caption, "patient_id": patient}
        lines.append(json.dumps(line) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines))
    return folder


def compressed(image):
    buffer = io.BytesIO()
    image.resize((48, 48)).save(buffer, "JPEG", quality=70)
    return Image.open(buffer)


@pytest.fixture
def run_data_step(tmp_path, monkeypatch):
    """Function that runs the step `data` of a plan and returns what Stage 2 reads, what is evaluated, the manifest."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def run(name, extra):
        settings = {"extra": list(map(str, extra)), "validation_fraction": 0.25, "max_bad_fraction": 0.0, "members": 1}
        plan = mini.plan_steps(tmp_path / name, str(tmp_path / "pairs"), knowledge_encoder="teacher", **settings)
        data, train, evaluate = (step.command for step in plan)
        assert main(data[data.index("prepare") :]) == 0
        trained, scored = (load_pairs(part[part.index("--data") + 1]) for part in (train, evaluate))
        return trained, scored, json.loads((tmp_path / name / "data" / "manifest.json").read_text())

    return run


def test_extra_rows_that_are_linked_to_a_held_out_pair_are_not_trained_on(tmp_path, run_data_step, capsys):
    write_pairs(tmp_path / "pairs", [(picture(n), f"caption {n}", f"patient {n}") for n in range(12)])
    alone, scored, _ = run_data_step("alone", [])
    held_out = int(scored[0]["caption"].split()[-1])
    kept = int(alone[0]["caption"].split()[-1])
    rows = [
        (picture(20), f"  CAPTION {held_out}", "a"),  # the caption of a held-out pair
        (compressed(picture(held_out)), "near copy", "b"),
        (picture(held_out), "same file", "c"),
        (picture(21), "same patient", f"patient {held_out}"),
        (picture(22), "a chain", "a"),  # linked to the first row, which is linked to the held-out pair
        (picture(23), "free", "d"),
        (picture(24), "patient of train", f"patient {kept}"),
    ]
    linked, free = write_pairs(tmp_path / "linked", rows), write_pairs(tmp_path / "free", [(picture(30), "e", "e")])
    trained, scored_again, manifest = run_data_step("with_extra", [linked, free])
    assert scored_again["caption"][:] == scored["caption"][:]  # extra rows do not move the split
    assert trained["caption"][:] == [*alone["caption"], "free", "patient of train", "e"]
    first, second = manifest["also"]
    assert first["row_ids_linked_to_validation"] == [f"images/{n}.png" for n in range(5)]
    assert (first["num_rows_added"], first["num_rows_linked_to_validation"]) == (2, 5)
    assert (second["num_rows_added"], second["row_ids_linked_to_validation"]) == (1, [])
    assert manifest["num_rows"] == {"train": len(trained), "validation": len(scored)}
    assert f"From {linked}: 2 rows in train, 5 left out" in capsys.readouterr().out
    card = (tmp_path / "with_extra" / "data" / "README.md").read_text()
    assert f"2 of the training pairs come from `{linked}`; 5 more" in card


def test_two_pairs_that_an_extra_row_joins_are_on_one_side(tmp_path, run_data_step):
    write_pairs(tmp_path / "pairs", [(picture(n), f"caption {n}", "") for n in range(12)])
    alone, scored, _ = run_data_step("alone", [])
    ends = [scored[0]["caption"], alone[0]["caption"]]
    bridge = write_pairs(tmp_path / "bridge", [(picture(40 + n), caption, "x") for n, caption in enumerate(ends)])
    trained, scored, _ = run_data_step("joined", [bridge])
    assert len({caption in scored["caption"][:] for caption in ends}) == 1
    assert not set(trained["caption"]) & set(scored["caption"])


def test_every_extra_row_may_be_left_out(tmp_path, run_data_step):
    rows = [(picture(n), f"caption {n}", "") for n in range(12)]
    write_pairs(tmp_path / "pairs", rows)
    alone, scored, _ = run_data_step("alone", [])
    again = write_pairs(tmp_path / "again", [(picture(50), scored[0]["caption"], "")])
    trained, _, manifest = run_data_step("again_out", [again])
    assert trained["caption"][:] == alone["caption"][:] and manifest["also"][0]["num_rows_added"] == 0


def test_bad_extra_rows_are_listed_apart(tmp_path, run_data_step, capsys):
    write_pairs(tmp_path / "pairs", [(picture(n), f"caption {n}", "") for n in range(12)])
    bad = write_pairs(tmp_path / "bad", [(picture(50), "", ""), (picture(51), "fine", "")])
    settings = ["--output", str(tmp_path / "out"), "--also", str(bad), "--max_bad_fraction"]
    assert main(["prepare", "split", "--source", str(tmp_path / "pairs"), *settings, "0.4"]) == 1
    assert "1 of 2 rows are bad" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["prepare", "split", "--source", str(tmp_path / "pairs"), *settings, "0.5"]) == 0
    assert "caption is empty" in (tmp_path / "out.bad_rows.1.jsonl").read_text()
    (other,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["also"]
    assert other["num_rows_left_out"] == {"caption is empty": 1} and other["num_rows_added"] == 1


def test_extra_rows_get_the_phenotypes_that_their_captions_name_and_no_other_row_does(tmp_path, run_data_step):
    write_pairs(tmp_path / "pairs", [(picture(n), f"Scoliosis, case {n}.", "") for n in range(8)])
    more = write_pairs(tmp_path / "more", [(picture(40), "Scoliosis of a child.", ""), (picture(41), "A spine.", "")])
    trained, scored, manifest = run_data_step("labelled", [more])
    labels = dict(zip(trained["caption"], trained["hpo_ids"], strict=True))
    assert labels.pop("Scoliosis of a child.") == ["HP:0002650"] and labels["A spine."] == []
    assert not any(labels.values()) and not any(scored["hpo_ids"])
    assert manifest["also_labelled_by_caption"] and not manifest["labelled_by_caption"]
    assert manifest["also"][0]["num_labels"] == 1


def test_captions_give_their_findings_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    pairs = write_pairs(tmp_path / "pairs", [(picture(n), f"Mild scoliosis, case {n}.", "") for n in range(8)])
    for output, flags in (("plain", []), ("found", ["--findings"])):
        call = ["--source", str(pairs), "--output", str(tmp_path / output), "--validation_fraction", "0.25", *flags]
        assert main(["prepare", "split", *call]) == 0
    plain, found = (load_pairs(tmp_path / name / "train")["findings"][:] for name in ("plain", "found"))
    assert not any(plain) and len(found) == 6
    for (finding,) in found:
        assert (
            finding["hpo_id"] == "HP:0002650" and finding["severity"] == "mild" and finding["assertion"] == "present"
        )
    assert "that rules found in their captions" in (tmp_path / "found" / "README.md").read_text()
