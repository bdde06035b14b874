"""Images of a data set, each placed once however many questions it has; errors name the record that asked."""

from __future__ import annotations

from pathlib import Path

from medpref import store
from medpref.imaging.decode import encode_png, is_plain, read_image, to_array
from medpref.schema import ImageRef
from medpref.sources.place import Placed, place
from medpref.sources.problem import naming

MARKS = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg"}


class Shelf:
    """Where images are placed: ``out`` is the folder being written, ``prefix`` its final name below the run folder."""

    def __init__(self, out: Path, *, prefix: str) -> None:
        self.out, self.prefix = out, prefix
        self._placed: dict[str, Placed] = {}

    def place(self, path: Path, *, where: str) -> Placed:
        """The image of a file, as `place.place` does it."""
        key = str(path)
        if key not in self._placed:
            with naming(where):
                self._placed[key] = place(path, self.out, prefix=self.prefix)
        return self._placed[key]

    def place_bytes(self, data: bytes, *, where: str) -> Placed:
        """The image that a file of these bytes would hold: a PNG or JPEG is kept as it is, all else becomes a PNG."""
        key = store.digest(data)
        if key not in self._placed:
            suffix = next((name for mark, name in MARKS.items() if data.startswith(mark)), ".raw")
            name = store.put_blob(self.out, data, suffix)
            with naming(where):
                image = read_image(self.out / name)
            if suffix == ".raw" or not is_plain(self.out / name):
                (self.out / name).unlink()
                data = encode_png(to_array(image))
                name = store.put_blob(self.out, data, ".png")
            ref = ImageRef(path=f"{self.prefix}/{name}", sha256=store.digest(data))
            self._placed[key] = Placed(ref, image.height, image.width)
        return self._placed[key]


def patient_of(placed: Placed) -> str:
    """The patient of an image about whom nothing is known: one for each image content, so that copies stay together."""
    return f"image:{placed.ref.sha256[:16]}"
