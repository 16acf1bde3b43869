"""The card of PhenoKG: what the tables hold, under what terms, how they were made, and what they cannot tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from phenolip.datasets_scripts.tables import size_category
from phenolip.phenokg.split_pairs import SPLITS

TEMPLATE = "phenokg_card.md.jinja"
HPO_LICENSE_URL = "https://hpo.jax.org/license"


def front(facts: Mapping[str, Any]) -> dict[str, Any]:
    """YAML front matter from a manifest: a configuration a table, `pairs` the default where there is one."""
    pairs = facts.get("pairs")
    num_rows = sum(pairs["num_rows"].values()) if pairs else facts["num_terms"]
    configs: list[dict[str, Any]] = [
        {"config_name": name, "data_files": [{"split": "train", "path": f"{name}/train-*.parquet"}]}
        for name in ("terms", "relations")
    ]
    if pairs:
        splits = [split for split in SPLITS if pairs["num_rows"][split]]
        files = [{"split": split, "path": f"pairs/{split}-*.parquet"} for split in splits]
        configs.append({"config_name": "pairs", "default": True, "data_files": files})
    return {
        "pretty_name": "PhenoKG",
        "license": "other",
        "license_name": "hpo-and-that-of-each-row" if pairs else "hpo",
        "license_link": HPO_LICENSE_URL,
        "language": ["en"],
        **({"task_categories": ["zero-shot-image-classification", "image-to-text"]} if pairs else {}),
        "tags": ["medical", "phenotype", "hpo", "knowledge-graph"],
        "size_categories": [size_category(num_rows)],
        "configs": configs,
    }


def describe(facts: Mapping[str, Any]) -> str:
    """The text of the card from a manifest."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=False, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["commas"] = lambda number: f"{number:,}"
    pairs = facts.get("pairs")
    return environment.get_template(TEMPLATE).render(
        hpo=facts["hpo"],
        facts=facts,
        pairs=pairs,
        num_pairs=sum(pairs["num_rows"].values()) if pairs else 0,
        has_kgx="kgx" in facts,
        license_url=HPO_LICENSE_URL,
    )
