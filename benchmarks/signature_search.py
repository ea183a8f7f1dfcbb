"""Time the search of signatures, by numpy as the library does it, and by FAISS.

``python benchmarks/signature_search.py`` needs ``pip install faiss-cpu``, in an environment of its
own. Medians of processor milliseconds of one search, on one thread; an IVF index is inexact, and
is made before the first search.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import statistics
import time
from collections.abc import Callable

import faiss
import numpy as np

FEATURES = 104
SIZES = (700, 10_000, 100_000, 1_000_000)
NEAREST = 5
PROBES = 16


def milliseconds(work: Callable[[], object], repeats: int = 9) -> float:
    """Return the median processor time of a work in milliseconds."""
    spent = []
    for _ in range(repeats + 1):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return 1000 * statistics.median(spent[1:])


def main() -> None:
    """Measure and print."""
    faiss.omp_set_num_threads(1)
    draw = np.random.default_rng(0)
    print("| signatures | numpy, ms | FAISS flat, ms | FAISS IVF, ms | making the IVF, ms |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        points = draw.standard_normal((size, FEATURES), dtype=np.float32)
        squares = (points**2).sum(axis=1)
        query = points[:1] + np.float32(0.1)
        flat = faiss.IndexFlatL2(FEATURES)
        flat.add(points)

        def brute(points=points, squares=squares, query=query):
            return np.argpartition(squares - 2 * (query @ points.T)[0], NEAREST)[:NEAREST]

        cells = [milliseconds(brute), milliseconds(lambda q=query, i=flat: i.search(q, NEAREST))]
        if size >= 10_000:
            lists = int(4 * size**0.5)
            inverted = faiss.IndexIVFFlat(faiss.IndexFlatL2(FEATURES), FEATURES, lists)
            inverted.cp.niter = 5
            inverted.nprobe = PROBES
            started = time.process_time()
            inverted.train(points[: 40 * lists])
            inverted.add(points)
            making = 1000 * (time.process_time() - started)
            cells += [milliseconds(lambda q=query, i=inverted: i.search(q, NEAREST)), making]
        shown = [f"{value:.2f}" for value in cells] + ["–"] * (4 - len(cells))
        print(f"| {size:,} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
