import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medpref import store
from medpref.errors import DataError
from medpref.imaging.decode import encode_png, is_plain, read_array, read_header, read_image, window


def test_png_round_trip_is_lossless_for_grey_and_colour(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for shape in ((7, 5), (7, 5, 3)):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / f"{len(shape)}.png"
        path.write_bytes(encode_png(pixels))
        assert np.array_equal(read_array(path), pixels)
        assert is_plain(path)


def test_only_eight_bits_become_a_png() -> None:
    with pytest.raises(TypeError, match="pixels are float64, not uint8"):
        encode_png(np.zeros((2, 2)))


def test_sixteen_bits_are_windowed_not_clipped_to_white(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 60000, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    shown = read_array(tmp_path / "deep.png")
    assert shown.min() == 0
    assert shown.max() == 255
    assert np.all(np.diff(shown.ravel().astype(int)) >= 0)
    assert abs(float(shown.mean()) - 127.5) < 1
    assert not is_plain(tmp_path / "deep.png")


def test_window_by_hand() -> None:
    values = np.array([[-10.0, 0.0, 50.0, 100.0, 900.0]])
    assert window(values, low=0, high=100).tolist() == [[0, 0, 128, 255, 255]]
    assert window(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


def test_transparent_pixels_lie_over_black_and_palettes_become_colour(tmp_path: Path) -> None:
    pixels = np.zeros((1, 2, 4), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    pixels[0, 1] = (255, 255, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_array(tmp_path / "a.png").tolist() == [[[255, 0, 0], [0, 0, 0]]]
    Image.fromarray(pixels[..., :3]).quantize(4).save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").mode == "RGB"
    assert not is_plain(tmp_path / "p.png")


def test_a_rotated_photograph_stands_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.array([[0], [255]], dtype=np.uint8), 8, axis=1).repeat(4, axis=0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "r.jpg", exif=exif)
    assert read_image(tmp_path / "r.jpg").size == (8, 8)
    upright = read_array(tmp_path / "r.jpg")
    assert upright[:, :3].mean() > 240
    assert upright[:, 5:].mean() < 15
    assert not is_plain(tmp_path / "r.jpg")


def test_a_missing_and_a_torn_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file; expected an image; check the path"):
        read_image(tmp_path / "none.png")
    data = encode_png(np.zeros((64, 64), dtype=np.uint8) + np.arange(64, dtype=np.uint8))
    (tmp_path / "torn.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"torn\.png: unreadable image \(OSError: .*\); expected PNG, JPEG or DICOM"):
        read_image(tmp_path / "torn.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(DataError, match="unreadable image"):
        read_image(tmp_path / "text.png")


def dicom_file(path: Path, pixels: np.ndarray, **fields: object) -> Path:
    """A minimal uncompressed DICOM file with these pixels and header fields."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["medpref", str(path)])
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if pixels.ndim == 3 else (1, "MONOCHROME2")
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    for key, value in fields.items():
        setattr(data, key, value)
    data.PixelData = pixels.tobytes()
    pydicom.dcmwrite(path, data)
    return path


def test_monochrome1_is_the_negative_of_monochrome2(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    normal = read_array(dicom_file(tmp_path / "2.dcm", pixels))
    negative = read_array(dicom_file(tmp_path / "1.dcm", pixels, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(normal, 255 - negative)
    assert normal[0, 0] < normal[-1, -1]


def test_a_header_window_decides_and_rescale_comes_first(tmp_path: Path) -> None:
    pixels = np.array([[0, 1000, 1050, 1100, 4000]], dtype=np.uint16)
    fields = {"RescaleSlope": 1, "RescaleIntercept": -1000, "WindowCenter": 50.5, "WindowWidth": 101}
    shown = read_array(dicom_file(tmp_path / "w.dcm", pixels, **fields))
    assert shown.tolist() == [[0, 0, 128, 255, 255]]


def test_the_first_of_several_windows_counts_and_an_absurd_one_does_not(tmp_path: Path) -> None:
    pixels = np.arange(100, dtype=np.uint16).reshape(10, 10)
    several = dicom_file(tmp_path / "s.dcm", pixels, WindowCenter=["50", "5"], WindowWidth=["101", "3"])
    one = dicom_file(tmp_path / "o.dcm", pixels, WindowCenter=50, WindowWidth=101)
    assert np.array_equal(read_array(several), read_array(one))
    absurd = dicom_file(tmp_path / "a.dcm", pixels, WindowCenter=9000, WindowWidth=10)
    assert np.array_equal(read_array(absurd), window(pixels))


def test_colour_and_several_frames(tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert np.array_equal(read_array(dicom_file(tmp_path / "c.dcm", colour)), colour)
    frames = dicom_file(tmp_path / "f.dcm", np.zeros((4, 4), dtype=np.uint8), NumberOfFrames=2)
    with pytest.raises(DataError, match="2 frames; expected one frame"):
        read_image(frames)


def test_a_torn_dicom_is_named(tmp_path: Path) -> None:
    path = dicom_file(tmp_path / "t.dcm", np.zeros((64, 64), dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"t\.dcm: unreadable DICOM"):
        read_image(path)


def test_the_pack_s_dicom_files_are_as_their_headers_say(pack_folder: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    pytest.importorskip("openjpeg", reason="needs pylibjpeg-openjpeg for JPEG 2000")
    for _, fact in store.iter_lines(pack_folder / "dicom" / "manifest.jsonl"):
        path = pack_folder / fact["file"]
        raw = pydicom.dcmread(path).pixel_array
        assert (list(raw.shape), int(raw.min()), int(raw.max())) == (
            fact["shape"],
            fact["pixel_min"],
            fact["pixel_max"],
        )
        shown = read_array(path)
        assert list(shown.shape) == fact["shape"]
        assert read_header(path).PhotometricInterpretation == fact["photometric"]
        agreement = np.corrcoef(raw.ravel().astype(float), shown.ravel().astype(float))[0, 1]
        if fact["photometric"] == "MONOCHROME1":
            assert agreement < -0.9, "a MONOCHROME1 film must be inverted"
        else:
            assert agreement > 0.9


def test_the_j2k_film_and_its_reduced_copy_look_alike(pack_folder: Path) -> None:
    pytest.importorskip("openjpeg", reason="needs pylibjpeg-openjpeg for JPEG 2000")
    large = read_image(pack_folder / "dicom" / "RG1_J2KI.dcm")
    small = read_array(pack_folder / "dicom" / "RG1_small_explicit_le.dcm").astype(float)
    reduced = np.asarray(large.resize(small.shape[::-1], Image.Resampling.BOX)).astype(float)
    assert np.abs(reduced - small).mean() < 2


def test_jpeg_of_the_pack_is_read_as_pillow_reads_it(pack_folder: Path) -> None:
    with open(pack_folder / "manifest.jsonl", encoding="utf-8") as file:
        record = json.loads(file.readline())
    path = pack_folder / record["file"]
    assert is_plain(path)
    image = Image.open(io.BytesIO(path.read_bytes()))
    assert np.array_equal(read_array(path), np.asarray(image))
    assert read_image(path).size == (record["width"], record["height"])
