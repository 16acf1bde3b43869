"""The card of a data set of images and reports: what is in it, whose terms bind it, how its findings were made."""

from collections.abc import Mapping
from typing import Any

from phenolip.datasets_scripts.tables import size_category


def front(facts: Mapping[str, Any]) -> dict[str, Any]:
    """YAML front matter from a manifest."""
    splits = [split for split, number in facts["num_rows"].items() if number]
    return {
        "pretty_name": "Images and reports with findings",
        "license": "other",
        "language": ["en"],
        "tags": ["medical", "phenotype", "hpo"],
        "size_categories": [size_category(sum(facts["num_rows"].values()))],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}/*.parquet"} for split in splits],
            }
        ],
    }


def describe(facts: Mapping[str, Any]) -> str:
    """The text of the card from a manifest."""
    settings = facts["settings"]
    terms = facts["license"] or "not stated: those of the source"
    address = f" ({facts['license_url']})" if facts["license_url"] else ""
    return f"""# Images and reports with findings

Written by `phenolip prepare reports --layout {settings["layout"]}`. For research, not for diagnosis.

**Terms: {terms}**{address}. Whoever may not have the source may not have this: it holds its images and its texts.

| split | images | patients known |
|---|---|---|
{_lines((split, f"{number:,} | {facts['num_patients'][split]:,}") for split, number in facts["num_rows"].items())}

`caption` is {" and ".join(settings["sections"])} of the report, white space made single blanks; `sections` says of
each row what it was made of ({_counts(facts["texts_from"])}). Images are {_size(settings["max_side"])}.

`findings` were made from `caption` by rules (`{facts["extractor"]}`, HPO release {facts["hpo_release"]}), not by
people: {_counts(facts["findings_by_assertion"])}. {facts["num_rows_with_present_findings"]:,} images have one that
is present. `phenotypes` are those of them that the ontology names, with their places in `caption_raw`; `labels` are
those of the source.

Of {facts["num_images"]:,} images left out for damage: {_counts(facts["bad_rows"])}. Left out otherwise:
{_counts(facts["left_out"])}.

A report says what its writer found worth saying, with earlier images and the patient at hand: what it does not mention
may be there all the same. Do not try to find out who the patients are."""


def _lines(rows: Any) -> str:
    return "\n".join(f"| {name} | {text} |" for name, text in rows)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items()) or "none"


def _size(max_side: int | None) -> str:
    return f"scaled down to at most {max_side} px" if max_side else "as in the source, byte for byte"
