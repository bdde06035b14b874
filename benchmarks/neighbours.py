"""Neighbour search over 100,000 rows of 512 features: seconds, peak memory, and whether FAISS and exact search agree.

python benchmarks/neighbours.py --rows 100000 --queries 10000
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from medpref.curation.nearest import search, space


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--k", type=int, default=5)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((chosen.rows, chosen.width), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    where = space({"image": rows}, {"image": 1.0}, rng)
    queries = range(chosen.queries)
    barred = {query: frozenset({query}) for query in queries}
    found = {}
    for index in ("exact", "faiss"):
        began = time.perf_counter()
        found[index] = search(where, queries, range(chosen.rows), k=chosen.k, barred=barred, index=index)
        print(f"{index}: {time.perf_counter() - began:.1f} s for {chosen.queries} queries over {chosen.rows} rows")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"  peak memory so far {peak:.2f} GiB")
    names = {index: [[row for row, _ in near] for near in lists] for index, lists in found.items()}
    print(f"the same neighbours: {names['exact'] == names['faiss']}")


if __name__ == "__main__":
    main()
