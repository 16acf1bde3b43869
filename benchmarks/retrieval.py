"""How long exact retrieval takes and how much memory: N random unit embeddings against N others, both directions.

    python benchmarks/retrieval.py --num 100000
    python benchmarks/retrieval.py --num 20000 --threads 1

Every direction gives the rank of each right answer, and from it hit and recall at 10, mean average precision, nDCG and
mean reciprocal rank. Time grows with the square of N; memory with N, beside chunks of the score matrix.
"""

import argparse
import os
import resource
import time


def main() -> None:
    """Measures and writes one line a direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=100_000, metavar="N", help="embeddings of each side (100000)")
    parser.add_argument("--width", type=int, default=512, metavar="D", help="their width (512)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the matrix product (default: all cores)")
    parser.add_argument("--check", type=int, default=20, metavar="N", help="queries compared with a full sort (20)")
    args = parser.parse_args()
    if args.threads:  # read when NumPy loads
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    measure(args.num, args.width, args.check)


def measure(num: int, width: int, num_checked: int) -> None:
    """Both directions over N pairs, of which each image leans towards its caption."""
    import numpy as np

    from phenolip.eval.metrics.answer_ranks import answer_ranks
    from phenolip.eval.metrics.rank_metrics import at_k, average_precision, ndcg, reciprocal_rank

    rng = np.random.default_rng(0)
    captions = _unit(rng.standard_normal((num, width), np.float32))
    images = _unit(captions * np.float32(0.15) + _unit(rng.standard_normal((num, width), np.float32)))
    answers = list(np.arange(num)[:, None])
    total = processor = 0.0
    for name, queries, candidates in (("i2t", images, captions), ("t2i", captions, images)):
        began, began_processor = time.perf_counter(), time.process_time()
        ranks = answer_ranks(queries, candidates, answers)
        hits, _, recalls = at_k(ranks, 10)
        means = [
            values.mean() for values in (hits, recalls, average_precision(ranks), ndcg(ranks), reciprocal_rank(ranks))
        ]
        seconds = time.perf_counter() - began
        total += seconds
        processor += time.process_time() - began_processor
        rows = rng.integers(num, size=num_checked)
        scores = queries[rows].astype(np.float64) @ candidates.T.astype(np.float64)
        differ = int(
            (np.abs((scores > scores[np.arange(num_checked), rows][:, None]).sum(axis=1) - ranks.above[rows])).max()
        )
        values = " ".join(f"{value:.4f}" for value in means)
        print(f"{name}: {num:,} x {num:,} x {width}: {seconds:.1f} s; hit, recall, mAP, nDCG, MRR {values}; "
              f"ranks of {num_checked} queries differ from float64 by at most {differ}")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    factor = (100_000 / num) ** 2
    print(
        f"both: {total:.1f} s, of processors {processor:.1f} s, peak {peak:,.0f} MiB; by the square, 100,000 take "
        f"{factor * total:.0f} s, of processors {factor * processor:.0f} s"
    )


def _unit(rows):  # noqa: ANN001, ANN202
    import numpy as np

    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
