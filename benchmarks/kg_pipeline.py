"""The construction pipeline over many articles: time, memory, and whether a killed build ends with the same table.

python benchmarks/kg_pipeline.py --data DIR --output FILE.json [--sizes 1000 10000] [--kills 3] [--shard_size 200]

DIR holds JATS articles with figures beside them. Copies of those that have both are made, with ids, captions and
images of their own, and built by `phenolip kg build` in a process of its own, one core. The largest corpus is then
built once more and killed with SIGKILL several times on the way; its tables must be the first ones byte for byte.
"""

import argparse
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

SIDE_PX = 160
SENTENCE = "Case {number}: arachnodactyly, seizures and no cataract."
CONFIG = Path(__file__).parents[1] / "phenokg" / "configs" / "research.yaml"


class Original:
    """An article to copy."""

    def __init__(self, path: Path) -> None:
        self.xml = path.read_text(encoding="utf-8")
        self.images = {}
        for image in sorted(path.parent.iterdir()):
            if image.suffix in (".jpg", ".png", ".tif") and image.stem in self.xml:
                with Image.open(image) as opened:
                    self.images[image.name] = opened.convert("RGB").resize((SIDE_PX, SIDE_PX))

    def copy(self, folder: Path, number: int) -> None:
        """Writes copy `number`: other ids, a sentence in every caption, other pixels in every image."""
        folder.mkdir(parents=True)
        xml = re.sub(r'(<article-id [^>]*"doi"[^>]*>)([^<]*)', rf"\g<1>\g<2>.{number}", self.xml)
        xml = re.sub(r'(<article-id [^>]*"pm[a-z-]*"[^>]*>)[^<]*', rf"\g<1>{10_000_000 + number}", xml)
        sentence = SENTENCE.format(number=number)
        xml = re.sub(r"(<fig\b.*?<caption\b.*?<p\b[^>]*>)", rf"\g<1>{sentence} ", xml, flags=re.DOTALL)
        (folder / "main.xml").write_text(xml, encoding="utf-8")
        for place, (name, image) in enumerate(self.images.items()):
            noise = np.random.default_rng([number, place]).integers(0, 256, (8, 8, 3), np.uint8)
            picture = image.copy()
            picture.paste(Image.fromarray(noise).resize((SIDE_PX // 2, SIDE_PX // 2), Image.Resampling.NEAREST))
            encoded = io.BytesIO()
            picture.save(encoded, {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF"}[Path(name).suffix])
            (folder / name).write_bytes(encoded.getvalue())


def find_originals(data: Path) -> list[Original]:
    """The articles that have figures and images beside them."""
    paths = sorted(
        path for path in data.rglob("*.xml") if "<fig" in path.read_text(encoding="utf-8", errors="replace")
    )
    originals = [Original(path) for path in paths]
    return [original for original in originals if original.images]


def make_corpus(originals: list[Original], folder: Path, size: int) -> int:
    """Writes `size` articles; bytes of all files."""
    for number in range(size):
        originals[number % len(originals)].copy(folder / f"{number // 1000:03d}" / f"{number:06d}", number)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def start(articles: Path, output: Path, settings: list[str]) -> subprocess.Popen:
    """Begins a build."""
    command = [sys.executable, "-m", "phenolip.cli", "kg", "build", "--config", str(CONFIG), *settings]
    command += ["--articles", str(articles), "--output", str(output), "--filter_figures.min_score", "0"]
    threads = {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=os.environ | threads, stderr=subprocess.DEVNULL)


def measured_build(articles: Path, output: Path, settings: list[str]) -> dict:
    """A build's wall time, processor time, peak memory and counts."""
    began = time.perf_counter()
    process = start(articles, output, settings)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"The build ended with status {status}.")
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_mb": usage.ru_maxrss / 1024,
        "steps": {
            name: {key: counts[key] for key in ("in", "out", "seconds")} for name, counts in manifest["steps"].items()
        },
        "tables": {name: file["sha256"] for name, file in manifest["tables"].items()},
    }


def killed_build(articles: Path, output: Path, settings: list[str], kills: int) -> tuple[dict, list[int]]:
    """A build that is killed on the way, and the parts that it had made each time."""
    num_shards, made = None, []
    for kill in range(1, kills + 1):
        process = start(articles, output, settings)
        while process.poll() is None:
            num_parts = len(list(output.glob("*-assemble/*.json")))
            num_shards = num_shards or len(list(output.glob("00-articles/*.json"))) if num_parts else None
            if num_shards and num_parts >= max(1, kill * num_shards // (kills + 1)):
                break
            time.sleep(0.05)
        if process.poll() is not None:
            raise SystemExit("The build ended before it could be killed: give more articles.")
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (output / "manifest.json").exists() or (output / "tables").exists():
            raise SystemExit("A killed build left tables.")
        made.append(num_parts)
    return measured_build(articles, output, settings), made


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--shard_size", type=int, default=200)
    args = parser.parse_args()
    settings = ["--engine", args.engine, "--shard_size", str(args.shard_size)]
    originals = find_originals(args.data)
    builds, work = {}, Path(tempfile.mkdtemp(prefix="kg-pipeline-"))
    try:
        for size in args.sizes:
            num_bytes = make_corpus(originals, work / f"articles-{size}", size)
            result = measured_build(work / f"articles-{size}", work / f"build-{size}", settings)
            builds[size] = {"articles": size, "corpus_mb": num_bytes / 1e6, **result}
            print(json.dumps(builds[size]), flush=True)
        largest = max(args.sizes)
        resumed, made = killed_build(work / f"articles-{largest}", work / "build-killed", settings, args.kills)
    finally:
        shutil.rmtree(work)
    per_article = {size: build["cpu_seconds"] / size for size, build in builds.items()}
    result = {
        "benchmark": "kg_pipeline",
        "originals": len(originals),
        "builds": list(builds.values()),
        "cpu_ms_per_article": {size: 1000 * seconds for size, seconds in per_article.items()},
        "killed": {
            "articles": largest,
            "parts_when_killed": made,
            "seconds_of_the_last_run": resumed["seconds"],
            "same_tables": resumed["tables"] == builds[largest]["tables"],
        },
        "engine": args.engine,
        "shard_size": args.shard_size,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
