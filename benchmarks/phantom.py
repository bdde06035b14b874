"""How many phantom studies a second one core draws, asks and loads.

Run: ``OMP_NUM_THREADS=1 python benchmarks/phantom.py``; the aim is 200 drawn studies a second at 128 px.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from medpref.sources.phantom import Phantom, draw, draw_cohort, phantom_batch

STUDIES = 256


def rate(work: Callable[[], object], studies: int = STUDIES) -> float:
    """Studies a second: the best of three, after one run to warm the caches."""
    work()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return studies / min(seconds)


def load(counterfactuals: tuple[str, ...]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source = Phantom(studies=STUDIES // 4, validation=0, test=0, counterfactuals=counterfactuals)
        return sum(1 for _ in source.load(Path(folder), seed=0, prefix="examples"))


def main() -> None:
    cohort = draw_cohort(0, "train", range(STUDIES), shortcut=0.0, studies_per_patient=1)
    for size_px in (96, 128, 224):
        sys.stdout.write(f"draw {size_px} px: {rate(lambda size=size_px: draw(cohort, size)):.0f} studies/s\n")
    sys.stdout.write(f"phantom_batch 96 px: {rate(lambda: phantom_batch(0, STUDIES, size_px=96)):.0f} studies/s\n")
    for splits, label in (((), "without counterfactuals"), (("train",), "with counterfactuals")):
        speed = rate(lambda splits=splits: load(splits), STUDIES // 4)
        sys.stdout.write(f"Phantom.load 128 px, {label}: {speed:.0f} studies/s\n")


if __name__ == "__main__":
    main()
