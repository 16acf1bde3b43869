"""The papers' tables: transcription, arithmetic, and a run set beside them."""

import json
from dataclasses import replace

import pytest

from phenolip.cli import main
from phenolip.eval.published import arithmetic, claims
from phenolip.eval.published.arithmetic import can_be_share, positive_share
from phenolip.eval.published.beside import read_results, set_beside
from phenolip.eval.published.checks import CHECKS, run_checks
from phenolip.eval.published.tables import list_published, load_published
from phenolip.exceptions import ConfigurationError, DataError

# Number of cells and their sum, taken from the papers' text a second time.
SUMS = {
    "medfilip_ablation": (60, 3200.3),
    "medfilip_linear_probe": (84, 5227.96),
    "medfilip_retrieval": (30, 858.25),
    "medfilip_segmentation": (12, 788.93),
    "medfilip_unseen": (12, 763.23),
    "medfilip_zero_shot": (72, 3304.88),
    "phenolip_ablation": (40, 2098.97),
    "phenolip_faces": (42, 476.93),
    "phenolip_linear_probe": (147, 9757.14),
    "phenolip_retrieval": (56, 1380.69),
    "phenolip_zero_shot": (56, 1312.61),
}


@pytest.mark.parametrize("name", list_published())
def test_transcription(name):
    table = load_published(name)
    cells = [value for row in table.rows.values() for value in row]
    assert all(len(row) == len(table.columns) for row in table.rows.values())
    assert (len(cells), pytest.approx(sum(cells), abs=1e-6)) == SUMS[name]
    assert set(table.measured_as) <= set(table.columns) and table.source


def test_five_and_six_tables():
    names = list_published()
    assert sum(name.startswith("phenolip") for name in names) == 5
    assert sum(name.startswith("medfilip") for name in names) == 6


def outcomes(name, kind):
    return [finding for finding in run_checks(load_published(name)) if finding.check == kind]


def test_average_closes_and_the_claimed_gap_does_not():
    assert all(finding.closes for finding in outcomes("phenolip_zero_shot", "mean"))
    first, second = outcomes("phenolip_zero_shot", "difference")
    assert not first.closes and "is 9.15, claimed 8.85; it is the difference to PMC-CLIP" in first.details[0]
    assert not second.closes and "is 2.61" in second.details[0]


def test_retrieval_gap_closes_and_the_encoder_differs():
    assert outcomes("phenolip_retrieval", "difference")[0].closes
    assert outcomes("phenolip_retrieval", "same_words")[0].details == ("PMC-CLIP: vision ViT-L here, ResNet50 there",)


def test_accuracy_above_the_hit_rate():
    (finding,) = outcomes("phenolip_zero_shot", "at_most")
    assert finding.details == ("PMC-CLIP: 7.50 against 7.22", "BiomedCLIP: 8.15 against 3.71")


def test_rows_of_the_faces_are_of_other_sets():
    stated, second, third = outcomes("phenolip_faces", "k_of_n")
    assert "2 of 21" in stated.question and "6 of 21" in second.question and "9 of 21" in third.question
    assert not any(line.startswith(("BiomedCLIP", "PhenoLIP")) for line in second.details)
    assert not any(line.startswith(("OpenCLIP", "CoCa", "BIOMEDICA")) for line in third.details)


def test_no_share_of_positives_fits_the_unseen_disease():
    (finding,) = outcomes("medfilip_unseen", "share_of_positives")
    assert not finding.closes and "39.3 %" in finding.details[0] and "31.0 %" in finding.details[1]


def test_ten_percent_against_all_fails_for_segmentation_alone():
    assert outcomes("medfilip_linear_probe", "beats")[0].closes
    (finding,) = outcomes("medfilip_segmentation", "beats")
    assert finding.details == ("dice_at_10: MedFILIP 77.42, dice_at_100: MedKLIP 79.37",)


@pytest.mark.parametrize("n", [7, 40, 307])
def test_k_of_n_against_every_k(n):
    possible = {f"{100 * k / n:.2f}" for k in range(n + 1)}
    for percent in (f"{cents / 100:.2f}" for cents in range(0, 10001, 7)):
        # Decimal halves may round either way, which the check allows.
        assert can_be_share(float(percent), n, 0.005) >= (percent in possible)
    assert sum(can_be_share(cents / 100, n, 0.005) for cents in range(10001)) <= 2 * (n + 1)


def test_positive_share_holds_every_real_classifier():
    for positives, true, false in ((30, 20, 10), (50, 45, 30), (10, 9, 2), (60, 60, 40)):
        accuracy, f1 = 100 - (positives - true) - false, 100 * 2 * true / (positives + true + false)
        low, high = positive_share(accuracy, f1)
        best = f1 / 100 >= 2 * positives / (100 + positives) - 1e-12
        assert low <= positives / 100 + 1e-12
        assert (positives / 100 <= high + 1e-12) >= best


def test_a_changed_number_is_found():
    table = load_published("phenolip_zero_shot")
    wrong = replace(table, rows=table.rows | {"CoCa": (*table.rows["CoCa"][:-1], 14.97)})
    assert not claims.mean(wrong, "average", list(table.columns[:-1]))[1]
    falling = replace(table, rows=table.rows | {"CoCa": (9.0, 8.0, *table.rows["CoCa"][2:])})
    assert any(
        line.startswith("CoCa") for line in arithmetic.ordered(falling, ["dermatology", "pathology"], "a test")[2]
    )


def test_every_kind_of_check_is_used():
    used = {check["kind"] for name in list_published() for check in load_published(name).checks}
    assert used == set(CHECKS)


def write_run(folder, task, metrics, **more):
    folder.mkdir()
    entries = {name: {"value": value, "ci95": [value, value], "n": 722} for name, value in metrics.items()}
    folder.joinpath("results.json").write_text(
        json.dumps({"task": task, "model": "m", "metrics": entries, "split": None} | more)
    )
    return folder


def test_a_run_beside_the_table(tmp_path, capsys):
    run = write_run(
        tmp_path / "full",
        "phenobench_full",
        {"zero_shot_top1": 0.25, "i2t_hit_at_10_strict": 0.5},
        contamination={"num_rows_in_training": 3},
    )
    cells = set_beside(load_published("phenolip_zero_shot"), read_results([run]))
    assert list(cells) == ["phenobench"] and cells["phenobench"].percent == 25.0
    assert "other data: n is 722, the paper's 7,819" in cells["phenobench"].differs
    assert "3 rows of phenobench_full are in the model's training data" in cells["phenobench"].differs
    assert main(["published", "phenolip_retrieval", "--beside", str(run), "--output", str(tmp_path / "a.md")]) == 0
    assert "measured here: m" in capsys.readouterr().out
    assert "| measured here: m | – | – | 50.00 |" in (tmp_path / "a.md").read_text()


def test_means_over_the_sets_of_a_domain(tmp_path):
    runs = [
        write_run(tmp_path / task, task, {"zero_shot_classes_top1": value})
        for task, value in (("octmnist", 0.2), ("retinamnist", 0.4))
    ]
    cells = set_beside(load_published("phenolip_zero_shot"), read_results(runs))
    assert cells["ophthalmology"].percent == pytest.approx(30.0) and cells["ophthalmology"].n == 1444
    assert set_beside(load_published("phenolip_zero_shot"), read_results(runs[:1])) == {}


def test_command(tmp_path, capsys):
    assert main(["published"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 11
    assert main(["published", "all", "--output", str(tmp_path / "all.json")]) == 0
    assert len(json.loads((tmp_path / "all.json").read_text())) == 12


def test_wrong_calls(tmp_path):
    with pytest.raises(ConfigurationError, match="Unknown table 'phenolip_zeroshot'. Close: 'phenolip_zero_shot'"):
        load_published("phenolip_zeroshot")
    with pytest.raises(ConfigurationError, match="`beside` must name output folders"):
        read_results([tmp_path / "none"])
    other = write_run(tmp_path / "other", "knowledge", {}, model="b")
    with pytest.raises(ConfigurationError, match="runs of one model, got b, m"):
        read_results([other, write_run(tmp_path / "one", "knowledge", {})])
    other.joinpath("results.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_results([other])
    other.joinpath("results.json").write_text("[]")
    with pytest.raises(DataError, match="must hold `task`"):
        read_results([other])
    assert main(["published", "--output", "a.md"]) == 2 and main(["published", "all", "--output", "a.txt"]) == 2
