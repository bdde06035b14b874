"""Write docs/images/phantom_contact_sheet.png: each finding, its mask's outline, and its counterfactual film.

Run from the repository root: ``python docs/make_contact_sheet.py``.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from medpref.sources.phantom import draw, draw_cohort
from medpref.sources.phantom_cohort import DEVICE, FINDINGS, LESIONS, Cohort, facts
from medpref.sources.phantom_words import report

SIZE_PX = 160
OUT = Path(__file__).parent / "images" / "phantom_contact_sheet.png"


def rows_of_interest(cohort: Cohort) -> list[int]:
    """The first study with each finding and nothing else that is pathological."""
    present = np.stack([cohort.present(finding) for finding in LESIONS], 1)
    rows = []
    for finding in FINDINGS:
        lonely = present.sum(1) == (0 if finding == DEVICE else 1)
        rows.append(int(np.flatnonzero(cohort.present(finding) & lonely & ~cohort.dark)[0]))
    return rows


def main() -> None:
    """Draw and write the sheet."""
    cohort = draw_cohort(3, "sheet", range(400), shortcut=0.0, studies_per_patient=1)
    rows = rows_of_interest(cohort)
    chosen = cohort.take(np.array(rows))
    films = draw(chosen, SIZE_PX)
    figure, axes = plt.subplots(4, 7, figsize=(12.6, 8.1), dpi=72)
    for column, finding in enumerate(FINDINGS):
        without = draw(chosen.take(slice(column, column + 1)).without([finding]), SIZE_PX).images[0]
        show(axes[0, column], films.images[column], report(facts(chosen, column)))
        axes[0, column].contour(films.masks[finding][column] > 0, levels=[0.5], colors="tab:orange", linewidths=0.7)
        show(axes[1, column], without, f"the same film without {finding}")
    others = draw(cohort.take(slice(200, 214)), SIZE_PX).images
    for axis, film in zip(axes[2:].ravel(), others, strict=True):
        show(axis, film, "")
    figure.suptitle("Synthetic films. First row: one finding each, outlined. Second: its counterfactual. Below: a mix.")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT, pil_kwargs={"optimize": True})


def show(axis: plt.Axes, film: np.ndarray, title: str) -> None:
    """One film on one axis, its title broken by sentences."""
    axis.imshow(film, cmap="gray", vmin=0, vmax=255)
    axis.set_title(title.replace(". ", ".\n"), fontsize=5)
    axis.axis("off")


if __name__ == "__main__":
    main()
