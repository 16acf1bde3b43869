import pytest
import yaml

from phenolip.ablation.plan import trained_rows
from phenolip.ablation.rows import MINI_ROWS, load_rows
from phenolip.ablation.runs import ONTOLOGY_TASK, resolve_settings
from phenolip.eval.tasks.registry import load_task
from phenolip.exceptions import ConfigurationError
from phenolip.train.distillation import FORMS

ROWS = load_rows()
COMPARED = [row for row in ROWS.values() if row.config and row.reference]


def settings(row):
    return resolve_settings(["--config", str(row.config), "--data", "x", "--knowledge_encoder", "x"])


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row.id)
def test_a_row_differs_from_its_reference_in_the_settings_that_it_names(row):
    first, second = settings(ROWS[row.reference]), settings(row)
    assert {name for name in first if first[name] != second[name]} - {"output_dir"} == set(row.changes)
    assert row.changes or row.data != ROWS[row.reference].data  # else it would be the same run


def test_every_config_is_a_row_and_every_variant_is_measured():
    assert {row.config for row in ROWS.values()} - {None} == set((MINI_ROWS.parent / "mini").glob("*.yaml"))
    variants = load_task(ONTOLOGY_TASK).evaluators["zero_shot"]["variants"].keys() | {"names"}
    assert {row.variant for row in ROWS.values()} - {None} <= variants
    assert all(row.reference in list(ROWS)[: list(ROWS).index(row.id)] for row in ROWS.values() if row.reference)


def test_every_form_of_distillation_target_and_order_has_a_row_of_its_own():
    read = [settings(row) for row in ROWS.values() if row.config]
    assert {tuple(one["distillation"]) for one in read if one["knowledge_weight"]} >= {(form,) for form in FORMS}
    assert {(one["targets"], one["caption_target_weight"]) for one in read} >= {
        ("multi_hot", 0.3), ("closure", 0.3), ("lin", 0.3),
    }  # fmt: skip
    assert {one["order"] for one in read} >= {"shuffled", "siblings", "balanced"}


def test_fine_tuned_rows_are_four_and_come_last():
    trained = trained_rows(ROWS, None, fine_tuned=True)
    assert [row.fine_tuned for row in trained[-5:]] == [False, True, True, True, True]
    assert all(settings(row)["vision_blocks"] == (None if row.fine_tuned else 0) for row in trained)
    assert not any(row.fine_tuned for row in trained_rows(ROWS, None, fine_tuned=False))


def test_a_row_of_inference_trains_the_row_that_it_scores():
    assert [row.id for row in trained_rows(ROWS, ["inference_names", "plain"], fine_tuned=True)] == ["plain", "name"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["plian"], "`rows` must name rows of the table, got 'plian'"),
        (["ft_name"], "'ft_name', which is fine-tuned"),
    ],
)
def test_rows_that_cannot_be_run_are_named(chosen, message):
    with pytest.raises(ConfigurationError, match=message):
        trained_rows(ROWS, chosen, fine_tuned=False)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("x", "must hold `groups`"),
        ([{"id": "a"}], "must hold `id` and `title`"),
        ([{"id": "a", "title": "A", "refrence": "b"}], "unknown key 'refrence'. Close: 'reference'"),
        ([{"id": "a", "title": "A"}, {"id": "a", "title": "B"}], "two rows 'a'"),
        ([{"id": "a", "title": "A", "reference": "b"}], "`reference` of 'a' must be a row"),
        ([{"id": "a", "title": "A", "data": "figures"}], "must be originals, compounds, crops, got 'figures'"),
        ([{"id": "b", "title": "B"}], "the config of 'b' must exist"),
        ([{"id": "a", "title": "A", "variant": "texts"}], "`model` must name the row"),
        (
            [{"id": "a", "title": "A"}, {"id": "b", "title": "B", "model": "a", "reference": "c"},
             {"id": "c", "title": "C", "model": "a", "variant": "texts"}],
            "measured in the same way",
        ),
        (
            [{"id": "b", "title": "B", "model": "c"}, {"id": "c", "title": "C", "model": "a"},
             {"id": "a", "title": "A"}],
            "`model` of 'b' must be a row that is trained",
        ),
    ],
)  # fmt: skip
def test_a_table_that_is_unclear_is_refused(tmp_path, rows, message):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "a.yaml").write_text("output_dir: a\n")
    groups = rows if rows == "x" else {"groups": [{"title": "G", "rows": rows}]}
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump(groups))
    with pytest.raises(ConfigurationError, match=message):
        load_rows(tmp_path / "rows.yaml")
