"""A build's folder after rows were taken out of it: parts keep their identity, the manifest counts what is left."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from phenolip.phenokg.parts import NUM_EXAMPLES, Part, part_numbers
from phenolip.phenokg.shards import SOURCE
from phenolip.phenokg.table_files import TABLES, file_facts, write_manifest


def recount(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest of a build with the counts, sizes and hashes of what is left."""
    for source in sorted(folder.glob("[0-9][0-9]-*")):
        name = next(iter(manifest["steps"])) if source.name == SOURCE else source.name.partition("-")[2]
        counts = [found for number in part_numbers(source) if (found := Part(source, number).counts())]
        if name in manifest["steps"] and counts:
            total = sum(counts[1:], counts[0])
            dropped = {"dropped": total.dropped, "examples": {key: list(ids) for key, ids in total.examples.items()}}
            manifest["steps"][name] |= {"in": total.num_in, "out": total.num_out, **dropped}
    tables = sorted((folder / TABLES).glob("*.parquet"))
    manifest["tables"] = {
        path.name: {"num_rows": pq.read_metadata(path).num_rows, **file_facts(path)} for path in tables
    }
    splits: Counter[str] = Counter()
    for path in tables:
        if path.name.startswith("pairs-"):
            splits.update(pq.read_table(path, columns=["split"])["split"].to_pylist())
    manifest["splits"] = {name: splits[name] for name in manifest["splits"]}
    last = list(manifest["steps"])[-1]
    drops = pq.read_table(folder / TABLES / "drops.parquet", columns=["step", "key", "reason"]).to_pylist()
    own = [drop for drop in drops if drop["step"] == last]
    reasons = Counter(drop["reason"] for drop in own)
    examples = {reason: [one["key"] for one in own if one["reason"] == reason][:NUM_EXAMPLES] for reason in reasons}
    kept = sum(manifest["splits"].values())
    manifest["steps"][last] |= {"in": kept + len(own), "out": kept, "dropped": dict(reasons), "examples": examples}
    write_manifest(folder, manifest)
