"""Kills training and construction at random moments until a time is spent, and compares what comes out at the end.

Each case runs once without a fault. Then a run is killed (SIGKILL or SIGTERM, at a random moment of its life, the
process or, with workers, one of them) and resumed until it ends by itself, and its weights or tables must have the
same bytes. Lives are forks of a process that has imported everything, so that each costs about a second.

The report counts, of each case, lives, kills by signal, exit codes of all its processes (a signal as its negative
number, 75 after a checkpoint on SIGTERM), runs that were followed to their end, and those of them that were lost.

    python benchmarks/soak.py --seconds 600 --output runs/soak.json
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # no pool of threads that a fork would lose

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.prepare import SPLIT_PAIRS
from phenolip.datasets_scripts.tables import embedded_rows
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.build_config import BuildConfig, Stage
from phenolip.phenokg.pipeline import build
from phenolip.phenokg.steps import find_step, make_config
from phenolip.train import stage1, stage2
from phenolip.train.entry import run_entry_point
from phenolip.train.faults import PREEMPTED_EXIT_CODE

LONGEST_LIFE_S = 300  # beside which a life has hung; far above what a busy machine takes
GRACE_S = 30  # for the others once one has left after SIGTERM, as torch's launcher gives them
TERMS = """format-version: 1.2
data-version: hp/releases/2026-01-01

"""


@dataclass
class Case:
    """A run that can be killed.

    Attributes:
        life: Runs it, or goes on with it, in a folder; called in a process of its own for each rank.
        results: Names below the folder whose bytes must agree.
        num_processes: Ranks.
        signals: That it is sent.
        lives: Starts, the one without a fault left out.
        kills: Signals sent, by name; twice in a row counts once.
        ends: Exit codes of the processes of its lives.
        runs: Followed to their end.
        lost: Runs that ended with other bytes, or did not end.
    """

    name: str
    life: Callable[[Path], None]
    results: tuple[str, ...]
    num_processes: int = 1
    signals: tuple[int, ...] = (signal.SIGKILL, signal.SIGTERM)
    lives: int = 0
    kills: Counter = field(default_factory=Counter)
    ends: Counter = field(default_factory=Counter)
    runs: int = 0
    lost: int = 0


def main() -> None:
    """Soaks every case in turn until the time is spent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="time budget; a run that has begun is finished")
    parser.add_argument("--seed", type=int, default=0, help="of signals and moments")
    parser.add_argument("--only", nargs="*", help="names of cases, by default all")
    parser.add_argument("--output", type=Path, help="JSON with the counts")
    arguments = parser.parse_args()
    folder, owner = Path(tempfile.mkdtemp(prefix="soak-")), os.getpid()
    try:
        cases = [case for case in make_cases(folder) if not arguments.only or case.name in arguments.only]
        soak(cases, folder, arguments.seconds, random.Random(arguments.seed))
    finally:
        if os.getpid() == owner:  # a life that leaves by another way must not take the inputs with it
            shutil.rmtree(folder, ignore_errors=True)
    report = {case.name: _counts(case) for case in cases}
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    sys.exit(any(case.lost for case in cases))


def _counts(case: Case) -> dict:
    return {
        "runs": case.runs,
        "lives": case.lives,
        "kills": dict(case.kills),
        "ends": {str(code): number for code, number in sorted(case.ends.items())},
        "lost": case.lost,
    }


def soak(cases: list[Case], folder: Path, seconds: float, rng: random.Random, max_kills: int = 30) -> None:
    """Runs each case once unharmed, then all of them in turn with faults, up to `max_kills` in a run."""
    wanted, pace = {}, {}
    for case in cases:
        started = time.monotonic()
        ends = live(case, folder / case.name / "whole", None, rng)
        if any(ends):
            raise SystemExit(
                f"{case.name} does not end by itself: {ends}; {_last_words(folder / case.name / 'whole')}"
            )
        pace[case.name] = time.monotonic() - started
        wanted[case.name] = _bytes(case, folder / case.name / "whole")
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        for case in cases:
            if time.monotonic() >= stop:
                break
            output = folder / case.name / "soaked"
            shutil.rmtree(output, ignore_errors=True)
            killed, ends = 0, [-1]
            while any(ends):
                harmed = killed < max_kills and time.monotonic() < stop
                harm = rng.uniform(0.02, pace[case.name] / 4) if harmed else None
                killed += harm is not None
                ends = live(case, output, harm, rng)
                case.lives += 1
                case.ends.update(ends)
                if harm is None and any(ends):
                    break
            case.runs += 1
            same = not any(ends) and _bytes(case, output) == wanted[case.name]
            case.lost += not same
            sent, state = sum(case.kills.values()), "the same" if same else f"LOST {ends}, {_last_words(output)}"
            sys.stderr.write(f"{case.name}: {case.lives} lives, {sent} kills so far, {state}\n")


def _last_words(output: Path) -> str:
    return output.with_name("lives.log").read_text(encoding="utf-8", errors="replace")[-2000:]


def live(case: Case, output: Path, harm_after_s: float | None, rng: random.Random) -> list[int]:
    """One life of every rank; exit codes, a signal as its negative number.

    Where one rank dies, the others are killed, as a launcher does. A rank that waits within torch for another which
    SIGTERM ended before they met does not hear its own SIGTERM: it is killed after `GRACE_S`.
    """
    output.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = {_fork(case, output, rank, port): rank for rank in range(case.num_processes)}
    ends: dict[int, int] = {}
    born, left_at = time.monotonic(), None
    while len(ends) < len(ranks):
        for pid in ranks.keys() - ends.keys():
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                ends[pid] = os.waitstatus_to_exitcode(status)
                if ends[pid] < 0 or ends[pid] not in (0, PREEMPTED_EXIT_CODE):
                    _kill_all(ranks.keys() - ends.keys())
                elif ends[pid] == PREEMPTED_EXIT_CODE:
                    left_at = left_at or time.monotonic()
        now = time.monotonic()
        age = now - born
        if harm_after_s is not None and age > harm_after_s:
            _harm(case, [pid for pid in ranks if pid not in ends], rng)
            harm_after_s = None
        if age > LONGEST_LIFE_S or (left_at and now - left_at > GRACE_S):
            _kill_all(ranks.keys() - ends.keys())
        time.sleep(0.005)
    for pid in ranks:
        _kill_group(pid)
    return [ends[pid] for pid in ranks]


def _fork(case: Case, output: Path, rank: int, port: int) -> int:
    """A process that lives once; however it leaves, nothing that the soaking process has yet to do is done in it."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _become_rank(case, output, rank, port)
        run_entry_point(lambda: case.life(output))
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _become_rank(case: Case, output: Path, rank: int, port: int) -> None:
    os.setsid()
    if case.num_processes > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        os.environ |= {"WORLD_SIZE": str(case.num_processes), "LOCAL_WORLD_SIZE": str(case.num_processes)}
    log = os.open(output.with_name("lives.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _harm(case: Case, pids: list[int], rng: random.Random) -> None:
    """Sends a signal: SIGTERM to every rank, as a scheduler does; SIGKILL to one, or to one of its workers."""
    if not pids:
        return
    number = rng.choice(case.signals)
    children = [int(child) for pid in pids for child in _children(pid)]
    if number == signal.SIGTERM:
        targets, name = pids * rng.choice([1, 2]), "SIGTERM"
    elif children and rng.random() < 0.3:
        targets, name = [rng.choice(children)], "SIGKILL of a worker"
    else:
        targets, name = [rng.choice(pids)], "SIGKILL"
    for target in targets:
        try:
            os.kill(target, number)
        except ProcessLookupError:
            return
    case.kills[name] += 1


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def _kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    """Workers of a killed process leave by themselves within seconds; the next life need not wait for that."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _bytes(case: Case, output: Path) -> dict[str, str]:
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in case.results
        for path in sorted(output.glob(pattern))
    }


def make_cases(folder: Path) -> list[Case]:
    """Small towers, pictures, terms and articles, drawn here, and the commands that use them."""
    inputs = folder / "inputs"
    _write_towers(inputs)
    _write_pairs(inputs / "pairs")
    _write_terms(inputs / "hp.obo")
    _write_shards(inputs / "pairs", inputs / "shards", inputs / "hp.obo")
    _write_articles(inputs / "articles")
    shared = f"--hpo {inputs}/hp.obo --text_path {inputs}/text --max_length 32 --mixed_precision no --num_threads 1"
    shared += " --save_steps 1 --log_steps 1 --resume true --learning_rate 1e-3"
    first = f"{shared} --max_steps 30 --batch_size 6 --evaluate false"
    second = f"{shared} --max_steps 30 --batch_size 8 --data {inputs}/pairs --vision_path {inputs}/vision"
    second += f" --knowledge_encoder {inputs}/text --image_size 32 --projection_dim 16 --name_weight 1"

    streamed = f"--data {inputs}/shards --streaming true --shuffle_buffer 12"  # the last `--data` counts

    def case(name: str, main: Callable, call: str, **more) -> Case:
        def life(output: Path) -> None:
            main([*call.split(), "--output_dir", str(output)])

        return Case(name, life, ("model.safetensors",), **more)

    return [
        case("stage1", stage1.main, first),
        case("stage1-2-processes", stage1.main, first, num_processes=2),
        case("stage2-workers", stage2.main, f"{second} --num_workers 2"),
        case("stage2-2-processes", stage2.main, f"{second} --num_workers 1", num_processes=2),
        case("stage2-gradient-cache", stage2.main, f"{second} --micro_batch_size 4"),
        case("stage2-streaming", stage2.main, f"{second} {streamed} --num_workers 2"),
        case("stage2-streaming-2-processes", stage2.main, f"{second} {streamed} --num_workers 1", num_processes=2),
        Case("build", _build_life(inputs), ("tables/*",), signals=(signal.SIGKILL,)),
    ]


def _write_towers(folder: Path) -> None:
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = {"model_type": "bert", "vocab_size": 100, "max_position_embeddings": 64, **tower}
    vision = {"model_type": "vit", "image_size": 32, "patch_size": 8, **tower}
    config = PhenoLIPConfig(
        text_config={"tower_config": text}, vision_config={"tower_config": vision}, projection_dim=16
    )
    model = PhenoLIPModel(config)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    pieces += [f"##{letter}" for letter in pieces[4:]]
    words = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    for name, side in (("text", model.text_model), ("vision", model.vision_model)):
        side.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def _write_pairs(folder: Path, num_rows: int = 24) -> None:
    folder.mkdir(parents=True)
    lines = []
    for row in range(num_rows):
        _draw(folder / f"{row}.png", row)
        lines.append({"file_name": f"{row}.png", "caption": f"picture {row}", "hpo_ids": [f"HP:{9900001 + row % 6}"]})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _write_shards(pairs: Path, shards: Path, hpo: Path) -> None:
    """The pairs in Parquet, in row groups that a stream shuffles."""
    shards.mkdir()
    rows = [
        {name: row[name] for name in SPLIT_PAIRS}
        for row in embedded_rows(load_pairs(pairs, ontology=load_ontology(hpo)))
    ]
    table = pa.Table.from_pylist(rows, schema=SPLIT_PAIRS.arrow_schema)
    pq.write_table(table, shards / "train-00000-of-00001.parquet", row_group_size=3)


def _draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _write_terms(path: Path) -> None:
    terms = ["[Term]\nid: HP:0000001\nname: All\n", "[Term]\nid: HP:0000118\nname: Odd\nis_a: HP:0000001\n"]
    for number in range(1, 13):
        above = "HP:0000118" if number < 4 else f"HP:{9900000 + number // 3}"
        terms.append(
            f'[Term]\nid: HP:{9900000 + number}\nname: Sign {number}\ndef: "A sign of kind {number}." []\n'
            f'synonym: "Mark {number}" EXACT []\nis_a: {above}\n'
        )
    path.write_text(TERMS + "\n".join(terms), encoding="utf-8")


def _write_articles(folder: Path, num_articles: int = 24) -> None:
    for number in range(num_articles):
        article = folder / f"article{number}"
        article.mkdir(parents=True)
        _draw(article / "f1.png", 1000 + number)
        (article / "a.xml").write_text(
            '<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>'
            f'<article-id pub-id-type="doi">10.1/{number}</article-id><permissions>'
            '<license xlink:href="http://creativecommons.org/licenses/by/4.0/"><p>CC BY</p></license></permissions>'
            '</article-meta></front><body><fig id="f1"><caption><p>Sign 3 and mark 5</p></caption>'
            '<graphic xlink:href="f1.png"/></fig></body></article>',
            encoding="utf-8",
        )


def _build_life(inputs: Path) -> Callable[[Path], None]:
    settings = {
        "parse_articles": {},
        "link_phenotypes": {"hpo": str(inputs / "hp.obo")},
        "select_figures": {},
        "assemble": {"media": str(inputs / "articles")},
        "split_pairs": {"test_fraction": 0.3},
    }

    def life(output: Path) -> None:
        stages = tuple(Stage(step := find_step(name), make_config(step, values)) for name, values in settings.items())
        build(
            BuildConfig(articles=str(inputs / "articles"), output=str(output), shard_size=2, stages=stages),
            progress=False,
        )

    return life


if __name__ == "__main__":
    main()
