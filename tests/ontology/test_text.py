"""Knowledge texts, and the held-out synonyms of the protocol of record."""

from hashlib import sha256

from phenolip.ontology import held_out_synonyms, is_held_out, knowledge_texts


def as_pairs(texts):
    return [(knowledge.kind, knowledge.text) for knowledge in texts]


def test_all_kinds_of_text(small):
    assert as_pairs(knowledge_texts(small, "HP:9900004")) == [
        ("name", "Square shape"),
        ("definition", "Four corners, four equal sides."),
        ("synonym", "Box-like shape"),
        ("synonym", "SQ"),
        ("synonym", "Square form"),
        ("relation", "Square shape is a child phenotype of Odd shape"),
    ]  # "square shape" repeats the name


def test_scopes(small):
    related = knowledge_texts(small, "HP:9900004", scopes=("RELATED",))
    assert [knowledge.text for knowledge in related if knowledge.kind == "synonym"] == ["Blocky shape"]
    assert all(knowledge.kind != "synonym" for knowledge in knowledge_texts(small, "HP:9900004", scopes=()))


def test_one_relation_a_parent_and_none_to_what_is_no_phenotype(small):
    assert [k.text for k in knowledge_texts(small, "HP:9900020") if k.kind == "relation"] == [
        "Red square is a child phenotype of Square shape",
        "Red square is a child phenotype of Red colour",
    ]
    assert as_pairs(knowledge_texts(small, "HP:0000118")) == [("name", "Phenotypic abnormality")]


def test_held_out_of_the_made_up_ontology(small):
    assert [(held.hpo_id, held.text, held.layperson) for held in held_out_synonyms(small)] == [
        ("HP:9900004", "Box-like shape", True),
        ("HP:9900004", "Square form", False),
        ("HP:9900005", "Looks red", True),
    ]
    assert is_held_out("HP:9900004", "BLOCKY shape")  # by its hash, yet RELATED: no test
    assert [held.hpo_id for held in held_out_synonyms(small, "HP:9900005")] == ["HP:9900005"]


def test_no_held_out_text_is_left_to_train_on(small):
    texts = knowledge_texts(small, "HP:9900004", exclude_held_out=True)
    assert [knowledge.text for knowledge in texts if knowledge.kind == "synonym"] == ["SQ"]
    scopes = ("EXACT", "NARROW")
    assert as_pairs(knowledge_texts(small, "HP:9900005", scopes=scopes, exclude_held_out=True)) == [
        ("name", "Red colour"),
        ("relation", "Red colour is a child phenotype of Odd colour"),
    ]  # "LOOKS RED" equals the held-out "Looks red" but for case


def test_held_out_of_the_real_release(hpo):
    held_out = held_out_synonyms(hpo)
    assert len(held_out) == 1_962
    assert sum(held.layperson for held in held_out) == 623
    for held in held_out:
        digest = sha256(f"{held.hpo_id}\t{held.text.casefold()}".encode()).hexdigest()
        assert int(digest, 16) % 10 == 0
        assert held.text.casefold() != hpo[held.hpo_id].name.casefold()


def test_training_texts_of_the_real_release_hold_no_test(hpo):
    scopes = ("EXACT", "RELATED", "BROAD", "NARROW")
    for held in held_out_synonyms(hpo):
        texts = knowledge_texts(hpo, held.hpo_id, scopes=scopes, exclude_held_out=True)
        folded = [knowledge.text.casefold() for knowledge in texts]
        assert held.text.casefold() not in folded
        assert len(set(folded)) == len(folded)
        assert texts[0].kind == "name"
