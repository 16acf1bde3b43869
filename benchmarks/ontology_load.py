"""Loading an HPO release: ours from its cache and for the first time, against pronto alone.

    python benchmarks/ontology_load.py --output FILE.json

One process, the ways take turns, medians of the rounds; import time is not counted. pronto alone gives its own terms:
ours gives typed records with obsolete ids resolved, for the first load it parses with pronto too.
"""

import gc
import statistics
import sys
import tempfile
import time
import warnings

import pronto
from worker import arguments, hardware, write

from phenolip.ontology.reader import installed_release, load_ontology


def main() -> None:
    """Measures and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="loads of each way (3)")
    args = parser.parse_args()
    before, path = hardware(args.threads), installed_release()
    warnings.simplefilter("ignore")  # pronto guesses the encoding and says so

    def first() -> int:
        with tempfile.TemporaryDirectory() as folder:
            return len(load_ontology(path, cache_dir=folder))

    with tempfile.TemporaryDirectory() as cache:
        num_terms = len(load_ontology(path, cache_dir=cache))
        ways = {
            "ours, cached": lambda: len(load_ontology(path, cache_dir=cache)),
            "ours, first load": first,
            "pronto": lambda: len(pronto.Ontology(str(path), import_depth=0)),
            "pronto, encoding given": lambda: len(pronto.Ontology(str(path), import_depth=0, encoding="utf-8")),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(args.rounds):
            for name, load in ways.items():
                gc.collect()
                began, began_processor = time.perf_counter(), time.process_time()
                load()
                taken[name].append((time.perf_counter() - began, time.process_time() - began_processor))
                print(f"{number + 1}/{args.rounds} {name}: {taken[name][-1][0]:.2f} s", file=sys.stderr, flush=True)
    measured = {
        name: {
            "median_s": statistics.median(seconds for seconds, _ in found),
            "least_s": min(found)[0],
            "most_s": max(found)[0],
            "processor_median_s": statistics.median(processor for _, processor in found),
        }
        for name, found in taken.items()
    }
    ours = measured["ours, cached"]["processor_median_s"]
    result = {
        "benchmark": "ontology load",
        "release": path.name,
        "num_terms": num_terms,
        "measured": measured,
        "processor_ratio": {name: entry["processor_median_s"] / ours for name, entry in measured.items()},
        "hardware": before,
    }
    write(result, args.output)


if __name__ == "__main__":
    main()
