"""Column names and types of every table that the parts of PhenoLIP hand to each other.

Pixels count from the top left corner of the image file; character offsets count Unicode code points.
"""

from datasets import Features, Image, List, Value

_TEXT = Value("string")

#: What a text says of single findings: MedFILIP's triplets with an assertion and the ontology's id of the category.
FINDINGS = List({"category": _TEXT, "severity": _TEXT, "location": _TEXT, "assertion": _TEXT, "hpo_id": _TEXT})

#: One image and its text, with where both come from and under what terms. ``row_id`` is unique: article, figure,
#: subfigure. ``caption`` is the text to train on; the phenotypes' offsets count in ``caption_raw``. Of a subfigure,
#: ``image`` is the crop, ``bbox_xyxy`` where it lies in the figure's file, whose hash is ``figure_sha256``; ``sha256``
#: is that of ``image``. ``license`` is an SPDX identifier, or null where the statement names no known licence;
#: ``license_text`` is that statement.
PAIRS = Features(
    {
        "row_id": _TEXT,
        "image": Image(),
        "caption": _TEXT,
        "caption_by": _TEXT,
        "caption_raw": _TEXT,
        "subcaption": _TEXT,
        "phenotypes": List(
            {
                "hpo_id": _TEXT,
                "name": _TEXT,
                "scope": _TEXT,
                "surface": _TEXT,
                "start": Value("int32"),
                "end": Value("int32"),
                "assertion": _TEXT,
                "score": Value("float32"),
                "method": _TEXT,
            }
        ),
        "findings": FINDINGS,
        "modality": _TEXT,
        "article_id": _TEXT,
        "pmcid": _TEXT,
        "version": _TEXT,
        "doi": _TEXT,
        "title": _TEXT,
        "journal": _TEXT,
        "published": _TEXT,
        "figure_id": _TEXT,
        "label": _TEXT,
        "num_images": Value("int32"),
        "subfigure_id": _TEXT,
        "bbox_xyxy": List(Value("int32")),
        "alignment_confidence": Value("float32"),
        "citing_paragraphs": List(_TEXT),
        "license": _TEXT,
        "license_category": _TEXT,
        "license_text": _TEXT,
        "license_url": _TEXT,
        "url": _TEXT,
        "sha256": _TEXT,
        "figure_sha256": _TEXT,
        "phash": _TEXT,
        "split": _TEXT,
    }
)

#: One image and the report of its study: a row of ``pairs``, with whose it is, from where the image was taken, which
#: sections of the report ``caption`` is made of, and what the source says of the study (1, 0 or -1, doubtful).
REPORT_PAIRS = Features(
    {
        **PAIRS,
        "patient_id": _TEXT,
        "study_id": _TEXT,
        "view": _TEXT,
        "sections": List(_TEXT),
        "labels": List({"name": _TEXT, "value": Value("float32")}),
    }
)

#: One current term of an ontology release; outside HP:0000118 it has no depth, information content or system.
TERMS = Features(
    {
        "hpo_id": _TEXT,
        "name": _TEXT,
        "definition": _TEXT,
        "comment": _TEXT,
        "synonyms": List({"text": _TEXT, "scope": _TEXT, "type": _TEXT}),
        "parents": List(_TEXT),
        "alt_ids": List(_TEXT),
        "xrefs": List(_TEXT),
        "depth": Value("int32"),
        "information_content": Value("float64"),
        "system_ids": List(_TEXT),
        "release": _TEXT,
    }
)

#: One edge of the ontology graph, from child to parent.
RELATIONS = Features({"child_id": _TEXT, "parent_id": _TEXT, "predicate": _TEXT})

#: One row of the benchmark. ``phenotypes[i]`` names ``hpo_ids[i]``; ``source`` is the row's id where it came from.
PHENOBENCH = Features(
    {"image": Image(), "caption": _TEXT, "phenotypes": List(_TEXT), "hpo_ids": List(_TEXT), "source": _TEXT}
)

#: What ``load_pairs`` returns: images undecoded, labels as current ontology ids, and what identifies a row.
#: ``group_id`` is the case, study, patient or article it comes from, empty where the data names none; ``findings`` is
#: empty where the data has none.
LOADED_PAIRS = Features(
    {
        "image": Image(decode=False),
        "caption": _TEXT,
        "phenotypes": List(_TEXT),
        "hpo_ids": List(_TEXT),
        "sha256": _TEXT,
        "row_id": _TEXT,
        "group_id": _TEXT,
        "findings": FINDINGS,
    }
)
