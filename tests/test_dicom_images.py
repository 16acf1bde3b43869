"""DICOM files written in code, against the standard's formulas and pydicom's own."""

import io

import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts.bench_source import open_bench_source
from phenolip.datasets_scripts.class_folders import read_class_folders
from phenolip.datasets_scripts.image_tables import TableLayout, read_image_table
from phenolip.datasets_scripts.labelled_images import ImageClass
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import embedded_rows
from phenolip.dicom_images import apply_window
from phenolip.exceptions import DataError
from phenolip.images import ImageTooLargeError, decode_image, drop_patient_data, measure_image, verify_image

pydicom = pytest.importorskip("pydicom")
PATIENT = "Doe^Jane"
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60


def dicom(pixels, photometric="MONOCHROME2", *, bits=None, syntax=None, **tags):
    """The bytes of a file with a patient's name; `pixels` is (H, W), (frames, H, W) or (H, W, 3)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT, "MRN-7", "19700101"
    in_color = pixels.ndim == 3 and pixels.shape[2] == 3
    dataset.SamplesPerPixel = 3 if in_color else 1
    if in_color:
        dataset.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if in_color else pixels.shape[-2:]
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def sequence(**tags):
    item = pydicom.Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return pydicom.Sequence([item])


def grey(data):
    picture = np.asarray(decode_image(data))
    assert picture.ndim == 3 and (picture == picture[..., :1]).all()
    return picture[..., 0]


def test_a_window_follows_the_standard_point_by_point():
    center, width = 40.0, 400.0
    for value in (-500.0, -160.0, -159.5, 0.0, 39.5, 239.0, 240.0, 900.0):
        if value <= center - 0.5 - (width - 1) / 2:
            expected = 0.0
        elif value > center - 0.5 + (width - 1) / 2:
            expected = 1.0
        else:
            expected = (value - (center - 0.5)) / (width - 1) + 0.5
        assert apply_window(np.array([value]), center, width)[0] == pytest.approx(expected, abs=1e-12)
    assert apply_window(np.array([0.0, 1.0]), 0.5, 1.0, "LINEAR_EXACT").tolist() == [0.0, 1.0]
    assert apply_window(np.array([40.0]), 40, 100, "SIGMOID").tolist() == [0.5]
    assert apply_window(np.array([9.0, 10.0]), 10, 1).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [True, False])
def test_rescale_and_window_equal_those_of_pydicom(function, signed):
    from pydicom.pixels import apply_rescale, apply_windowing

    pixels = (RAMP.astype(np.int16) - 1900) if signed else RAMP
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": [40, 500], "WindowWidth": [400, 2000]}
    data = dicom(pixels, bits=12, **tags, **({"VOILUTFunction": function} if function else {}))
    dataset = pydicom.dcmread(io.BytesIO(data))
    expected = apply_windowing(apply_rescale(pixels, dataset), dataset)
    lowest, highest = (-(2**11), 2**11 - 1) if signed else (0, 2**12 - 1)
    lowest, highest = lowest * 2 - 1024, highest * 2 - 1024
    expected = (expected - lowest) / (highest - lowest) * 255
    assert np.abs(grey(data).astype(float) - expected).max() <= 0.51


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_without_a_window_the_range_is_shown_and_monochrome1_is_inverted(dtype):
    pixels = np.array([[10, 20], [30, 60]], dtype)
    assert grey(dicom(pixels)).tolist() == [[0, 51], [102, 255]]
    assert grey(dicom(pixels, "MONOCHROME1")).tolist() == [[255, 204], [153, 0]]
    assert grey(dicom(np.full((2, 2), 7, dtype))).tolist() == [[0, 0], [0, 0]]


def test_padding_does_not_stretch_the_range():
    pixels = np.array([[-2000, 0], [50, 100]], np.int16)
    assert grey(dicom(pixels, PixelPaddingValue=-2000)).tolist() == [[0, 0], [128, 255]]


def test_the_first_frame_is_shown_through_its_own_window():
    frames = np.stack([RAMP, RAMP[::-1]])
    assert np.array_equal(grey(dicom(frames)), grey(dicom(RAMP)))
    groups = sequence(
        FrameVOILUTSequence=sequence(WindowCenter=1000, WindowWidth=500),
        PixelValueTransformationSequence=sequence(RescaleSlope=3, RescaleIntercept=-10),
    )
    expected = np.round(apply_window(RAMP * 3.0 - 10, 1000, 500) * 255)
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        assert np.array_equal(grey(dicom(frames, **{name: groups})), expected)


def test_a_voi_table_takes_the_place_of_a_window():
    table = sequence(LUTDescriptor=[4, 0, 8], LUTData=np.array([0, 10, 200, 255], np.uint16).tobytes())
    data = dicom(np.array([[0, 1], [2, 3]], np.uint8), VOILUTSequence=table, WindowCenter=1, WindowWidth=2)
    assert grey(data).tolist() == [[0, 10], [200, 255]]


def test_colours():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(decode_image(dicom(pixels, "RGB"))), pixels)
    data = dicom(np.full((2, 2, 3), (76, 85, 255), np.uint8), "YBR_FULL")
    assert np.abs(np.asarray(decode_image(data)).astype(int) - (254, 0, 0)).max() <= 2
    shades = {f"{color}PaletteColorLookupTableDescriptor": [2, 0, 16] for color in ("Red", "Green", "Blue")}
    tables = dict(zip(("Red", "Green", "Blue"), ([0, 65535], [65535, 0], [0, 0]), strict=True))
    tables = {f"{color}PaletteColorLookupTableData": np.array(v, np.uint16).tobytes() for color, v in tables.items()}
    data = dicom(np.array([[0, 1]], np.uint8), "PALETTE COLOR", **shades, **tables)
    assert np.asarray(decode_image(data)).tolist() == [[[0, 255, 0], [255, 0, 0]]]


def test_run_length_compressed_files_open_without_another_package():
    dataset = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    dataset.compress(pydicom.uid.RLELossless)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert np.array_equal(grey(buffer.getvalue()), grey(dicom(RAMP)))


def test_no_tag_of_a_patient_is_kept(tmp_path, caplog):
    data = dicom(RAMP)
    assert PATIENT.encode() in data and drop_patient_data(b"other") == b"other"
    kept = drop_patient_data(data)
    assert PATIENT.encode() not in kept and b"MRN-7" not in kept and not Image.open(io.BytesIO(kept)).info
    assert np.array_equal(grey(kept), grey(data))
    assert not decode_image(data).info
    (tmp_path / "a.dcm").write_bytes(data)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.dcm", "caption": "a scan"}\n')
    (row,) = embedded_rows(load_pairs(tmp_path))
    assert row["image"] == {"bytes": kept, "path": "a.png"}
    with pytest.raises(DataError, match="a DICOM file, whose tags name a patient"):
        open_bench_source(tmp_path, split="train", ontology=None).image_bytes(0)
    with pytest.raises(DataError) as caught:
        decode_image(data[:-40])
    assert "Doe" not in str(caught.value) and caught.value.__cause__ is None
    assert "Doe" not in caplog.text


def test_folders_and_tables_of_dicom_files(tmp_path):
    classes = [ImageClass(name, (name,), (name,)) for name in ("normal", "pneumonia")]
    for number, entry in enumerate(classes):
        (tmp_path / entry.name).mkdir()
        (tmp_path / entry.name / f"{number}.dcm").write_bytes(dicom(RAMP + number))
        (tmp_path / f"patient{number}.dcm").write_bytes(dicom(RAMP))
    images = read_class_folders(tmp_path, classes)
    assert images.ids == ("normal/0.dcm", "pneumonia/1.dcm") and decode_image(images.images[1]).size == (8, 8)
    rows = [{"patientId": f"patient{number}", "Target": entry.name} for number, entry in enumerate(classes)]
    layout = TableLayout(image="patientId", label="Target", suffix=(".png", ".dcm"))
    table = read_image_table(rows, tmp_path, classes, layout)
    assert [path.name for path in table.images] == ["patient0.dcm", "patient1.dcm"] and not table.dropped


def test_without_pydicom_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("phenolip.dicom_images.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"scan\.dcm is a DICOM file, which needs pydicom: `pip install phenolip\[dic"):
        verify_image(dicom(RAMP), "scan.dcm")


def test_files_that_cannot_be_shown():
    data = dicom(RAMP)
    assert measure_image(data, "x") == (8, 8)
    with pytest.raises(ImageTooLargeError, match="8 x 8 pixels, more than the 10 allowed"):
        decode_image(data, max_pixels=10)
    with pytest.raises(DataError, match="without a picture"):
        decode_image(dicom(RAMP, Rows=0))
    with pytest.raises(DataError, match="without a picture|truncated"):
        decode_image(data[:200])
    with pytest.raises(DataError, match=r"cannot be decoded \(Explicit VR Little Endian\)"):
        decode_image(data[:-40])
    with pytest.raises(DataError, match="window or tables"):
        decode_image(dicom(RAMP, VOILUTSequence=sequence(LUTDescriptor=[4, 0, 8])))
    deflated = pydicom.dcmread(io.BytesIO(data))
    deflated.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    deflated.save_as(buffer)
    with pytest.raises(DataError, match="deflated DICOM file"):
        decode_image(buffer.getvalue())
    with pytest.raises(DataError, match="truncated or damaged|without a picture"):
        decode_image(bytes(128) + b"DICM" + bytes(64))
