"""`phenolip ablation`: what each part is worth, in one table of runs that differ in one thing each."""

import argparse
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from phenolip.exceptions import ConfigurationError, PhenoLIPError

if TYPE_CHECKING:
    from phenolip.ablation.rows import AblationRow
    from phenolip.ablation.runs import RunSpec

ROOT = Path(__file__).resolve().parent.parent
STAGE1_CONFIG = ROOT / "train" / "configs" / "mini_stage1.yaml"
# One thread a worker: two runs side by side use two cores better than two threads do.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the data, the rows and how they are run."""
    parser.description = (
        "Trains every row of a table of variants with several seeds, evaluates each on the same held-out pairs, and "
        "writes OUTPUT/table.md, table.json and plot.png: mean and spread over the seeds, and the difference to a "
        "reference row with its paired bootstrap interval. A row is a YAML file that also runs alone; rows.yaml lists "
        "them. What is done is kept: the same command goes on after an interruption, and does again only what another "
        "config, data set or Stage 1 encoder would change."
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  phenolip ablation --data DIR                                          everything, a fifth held out\n"
        "  phenolip ablation --data DIR --rows plain contrastive --seeds 0       two rows, one seed\n"
        "  phenolip ablation --split_dir DIR --knowledge_encoder runs/mini/stage1 --no_fine_tuned"
    )
    parser.add_argument("--data", metavar="DIR", help="image-caption pairs with HPO ids (see docs/data.md)")
    parser.add_argument("--split_dir", metavar="DIR", help="instead of --data: a folder with train/ and validation/")
    parser.add_argument("--output", default="runs/ablation", metavar="DIR", help="default: runs/ablation")
    parser.add_argument("--rows", nargs="+", metavar="ID", help="rows to run (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument(
        "--knowledge_encoder",
        metavar="DIR",
        help="Stage 1 folder; without it, one is trained first (about 20 minutes)",
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs side by side, a core each (2)")
    parser.add_argument(
        "--no_fine_tuned", dest="fine_tuned", action="store_false", help="leave out rows whose vision tower is trained"
    )
    parser.add_argument("--keep_models", action="store_true", help="keep the weights of finished runs")
    parser.add_argument("--rows_file", metavar="FILE", help="another table (train/configs/ablation/rows.yaml)")
    parser.add_argument("--layouts", metavar="FILE", help="boxes of real figures for the compounds (drawn rows)")
    parser.add_argument("--hpo", metavar="PATH", help="hp.obo or hp.json (the installed release)")
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of rows that may be bad (0.01)"
    )


def run(args: argparse.Namespace) -> int:
    """Prepares, runs what is not done, and writes the table; 1 where a run failed."""
    if args.jobs < 1 or min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        raise ConfigurationError(
            f"`jobs` must be 1 or more and `seeds` different numbers of 0 or more, got {args.jobs} and {args.seeds}."
        )
    from filelock import FileLock, Timeout

    from phenolip.ablation.plan import trained_rows
    from phenolip.ablation.rows import MINI_ROWS, load_rows

    rows = load_rows(args.rows_file or MINI_ROWS)
    chosen = trained_rows(rows, args.rows, fine_tuned=args.fine_tuned)
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / ".lock", timeout=0):
            failures = fill_table(rows, chosen, output, args)
    except Timeout:
        raise ConfigurationError(
            f"`output` {output} is in use by another `phenolip ablation`: wait for it, or choose another `--output`."
        ) from None
    for name, reason in failures.items():
        sys.stderr.write(f"failed: {name}: {reason}\n")
    return 1 if failures else 0


def fill_table(
    rows: dict[str, "AblationRow"], chosen: list["AblationRow"], output: Path, args: argparse.Namespace
) -> dict[str, str]:
    """Runs the chosen rows and writes the table of all that the folder holds; returns the reason of each failure."""
    from transformers.utils.logging import disable_progress_bar

    from phenolip.ablation.plan import needs_teacher, plan_runs, seeds_on_disk, trained_rows
    from phenolip.ablation.prepare import prepare_data

    disable_progress_bar()
    data = prepare_data(
        chosen,
        output,
        data=args.data,
        split_dir=args.split_dir,
        layouts=args.layouts,
        hpo=args.hpo,
        max_bad_fraction=args.max_bad_fraction,
    )
    encoder, trained_here = args.knowledge_encoder, output / "stage1"
    if encoder is None and needs_teacher(chosen):
        encoder = train_knowledge_encoder(trained_here, args.hpo)
    elif encoder is None and (trained_here / "run.json").is_file():
        encoder = str(trained_here)
    # The table shows what was run before too: every row and seed that this folder can hold.
    everything = trained_rows(rows, None, fine_tuned=True)
    possible = [row for row in everything if row.data in data.train and (encoder or not needs_teacher([row]))]
    specs = plan_runs(
        rows,
        possible,
        list(dict.fromkeys([*args.seeds, *seeds_on_disk(output)])),
        data,
        output,
        knowledge_encoder=encoder,
        keep_models=args.keep_models,
        max_bad_fraction=args.max_bad_fraction,
    )
    asked = {row.id for row in chosen}
    todo = [spec for spec in specs if spec.row_id in asked and spec.seed in args.seeds]
    failures = run_specs(todo, args.jobs, output / "workers.log")
    write_outputs(rows, specs, output)
    return failures


def train_knowledge_encoder(folder: Path, hpo: str | None) -> str:
    """Path of the Stage 1 encoder of the ablation, trained if it is not there.

    Raises:
        PhenoLIPError: Training failed, or the encoder there was trained with other settings.
    """
    from phenolip.ablation.prepare import check_knowledge_encoder

    if (folder / "run.json").is_file():
        check_knowledge_encoder(folder, STAGE1_CONFIG, hpo)
    else:
        command = [sys.executable, str(ROOT / "train" / "stage1.py"), "--config", str(STAGE1_CONFIG)]
        command += ["--output_dir", str(folder), "--resume", "true", *(["--hpo", hpo] if hpo else [])]
        sys.stdout.write(f"Stage 1, the knowledge encoder: {folder}\n")
        sys.stdout.flush()
        if code := subprocess.run(command).returncode:
            raise PhenoLIPError(f"Stage 1 ended with exit code {code}; its message is above.")
    return str(folder)


def run_specs(specs: list["RunSpec"], jobs: int, log_path: Path) -> dict[str, str]:
    """Runs what is not done in worker processes; returns the reason of each failure by the name of its run."""
    from tqdm.auto import tqdm

    from phenolip.ablation.runs import execute, is_done
    from phenolip.ablation.schedule import run_all

    todo = [spec for spec in specs if not is_done(spec)]
    if not todo:
        return {}
    failures: dict[str, str] = {}
    progress = tqdm(total=len(specs), initial=len(specs) - len(todo), desc="ablation", unit="run", dynamic_ncols=True)

    def on_end(spec: "RunSpec", seconds: float | None, error: BaseException | None) -> None:
        if error:
            failures[spec.name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            with log_path.open("a", encoding="utf-8") as log:
                log.write("".join(traceback.format_exception(error)))
        progress.set_postfix_str(f"{spec.name}: " + ("failed" if error else f"{seconds:.0f} s"))
        progress.update()

    os.environ.update(ENVIRONMENT)
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a shutdown is an interruption like any other
    executor = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), start_worker, (str(log_path),))
    interrupted = True
    try:
        run_all(todo, executor, execute, jobs=jobs, on_end=on_end)
        interrupted = False
    finally:
        for worker in multiprocessing.active_children() if interrupted else ():
            worker.terminate()  # training saves a checkpoint and ends
        executor.shutdown(cancel_futures=True)
        signal.signal(signal.SIGTERM, handler)
        progress.close()
    return failures


def start_worker(log_path: str) -> None:
    """Sends the bars and warnings of a worker to a file; its failures are reported by the process that started it."""
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stderr.fileno())
    os.close(log)
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")


def write_outputs(rows: dict[str, "AblationRow"], specs: list["RunSpec"], output: Path) -> None:
    """Writes table.md, table.json and plot.png from the finished runs, and says where they are."""
    from phenolip.ablation.runs import is_done
    from phenolip.ablation.summary import origins, summarise
    from phenolip.ablation.table import to_markdown, write_plot
    from phenolip.eval.compare import load_run
    from phenolip.provenance import write_json

    summaries = summarise(rows, specs)
    if not summaries:
        return
    results = [load_run(spec.folder).results for spec in specs if is_done(spec)]
    shared = ("task", "task_version", "n", "num_candidates", "data_revision", "hpo_release")
    made_by = origins(results)
    table = {name: results[0].get(name) for name in shared} | made_by
    write_json(output / "table.json", table | {"rows": [summary.to_dict() for summary in summaries]})
    text = to_markdown(summaries, num_pairs=results[0]["n"], origins=made_by)
    (output / "table.md").write_text(text, encoding="utf-8")
    write_plot(summaries, output / "plot.png")
    sys.stdout.write(f"Table of {len(summaries)} rows: {output / 'table.md'}, beside it table.json and plot.png\n")
