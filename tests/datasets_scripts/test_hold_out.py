"""Splits without held-out terms: who leaves training, and why."""

import json

import pytest

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.prepare import prepare_split
from phenolip.exceptions import DataError

SQUARE, ROUND, ODD = "HP:9900002", "HP:9900003", "HP:9900001"


@pytest.fixture
def records():
    rows = [{"caption": f"Round thing {row}.", "hpo_ids": [ROUND]} for row in range(12)]
    rows[0] = {"caption": "A box.", "hpo_ids": [SQUARE], "patient_id": "p"}
    rows[1] = {"caption": "Round, and no boxy forms.", "hpo_ids": [ROUND]}
    rows[2] = {"caption": "Another thing.", "hpo_ids": [ROUND], "patient_id": "p"}
    rows[3] = {"caption": "A cube, says the linker.", "hpo_ids": [ROUND]}
    return rows


def test_rows_that_show_name_or_are_linked_to_a_held_out_term_leave_both_parts(tmp_path, helpers, ontology, records):
    source = helpers.write_imagefolder(tmp_path / "source", records)
    more = [{"caption": "Boxy form.", "hpo_ids": []}, {"caption": "Other.", "hpo_ids": []}]
    extra = helpers.write_imagefolder(tmp_path / "extra", more, suffix="jpg")
    manifest = prepare_split(
        source,
        tmp_path / "out",
        also=[extra],
        ontology=ontology,
        max_phash_distance=-1,
        hold_out=(SQUARE,),
        link=lambda caption: [SQUARE] if "cube" in caption else [],
    )
    assert manifest["held_out"]["left_out"] == {"shows a term": 1, "names a term": 3, "linked to such a row": 1}
    assert manifest["num_rows"] | {"train": 0, "validation": 0} == {"train": 0, "validation": 0, "unseen": 1}
    assert manifest["num_rows"]["train"] + manifest["num_rows"]["validation"] == 8 + 1
    (other,) = manifest["also"]
    assert (other["num_rows_added"], other["num_rows_held_out"], other["num_rows_linked_to_validation"]) == (1, 1, 0)
    assert json.loads((tmp_path / "out/held_out.json").read_text()) == [{"hpo_id": SQUARE, "name": "Square shape"}]
    assert load_pairs(tmp_path / "out/unseen", ontology=ontology)["caption"][:] == ["A box."]
    kept = [load_pairs(tmp_path / "out" / part, ontology=ontology)["caption"][:] for part in ("train", "validation")]
    assert not {records[row]["caption"] for row in range(4)} & set(sum(kept, []))


def test_so_many_terms_are_drawn(tmp_path, helpers, ontology, records):
    source = helpers.write_imagefolder(
        tmp_path / "source", records + [{"caption": f"B {n}", "hpo_ids": [SQUARE]} for n in range(5)]
    )
    manifest = prepare_split(source, tmp_path / "out", ontology=ontology, max_phash_distance=-1, hold_out=1)
    assert [term["hpo_id"] for term in manifest["held_out"]["terms"]] in ([SQUARE], [ROUND])
    with pytest.raises(DataError, match="asks for 3 terms"):
        prepare_split(source, tmp_path / "again", ontology=ontology, max_phash_distance=-1, hold_out=3)
