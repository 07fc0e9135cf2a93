"""Pixels: an embedded raster is given as it is only where the page shows it so; every other picture is rendered."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pymupdf
import pytest
from PIL import Image

from harvest.document import read_pages
from harvest.pixels import Picture, PixelError, picture, png
from harvest.records import Box
from tests.harvest.drawn import Draft, pixmap
from tests.harvest.drawn import picture as drawn

PLACE = (150.0, 100.0, 450.0, 325.0)


def taken(pdf: pymupdf.Document, box: tuple[float, ...] = PLACE, *, max_pixels: int = 10_000_000) -> Picture:
    """The picture in ``box``, by way of a saved and reopened PDF."""
    with pymupdf.open(stream=pdf.tobytes(), filetype="pdf") as read:
        (layout, *_), _ = read_pages(read)
        images = [graphic.image for graphic in layout.graphics if graphic.image >= 0]
        return picture(read, read[0], layout, Box(*box), images, dpi=96, max_pixels=max_pixels)


def with_object(keys: str, data: bytes, extra: dict[str, tuple[str, bytes]] | None = None) -> pymupdf.Document:
    """A page with one image object written by hand: its dictionary's keys and its raw stream."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=612, height=792)
    others = {}
    for name, (more, stream) in (extra or {}).items():
        others[name] = pdf.get_new_xref()
        pdf.update_object(others[name], f"<</Type/XObject/Subtype/Image{more}>>")
        pdf.update_stream(others[name], stream, compress=False)
    xref = pdf.get_new_xref()
    for name, other in others.items():
        keys = keys.replace(name, f"{other} 0 R")
    pdf.update_object(xref, f"<</Type/XObject/Subtype/Image{keys}>>")
    filtered = pdf.xref_get_key(xref, "Filter")
    pdf.update_stream(xref, data, compress=False)
    if filtered[0] != "null":
        pdf.xref_set_key(xref, "Filter", filtered[1])
    page.insert_image(pymupdf.Rect(PLACE), xref=xref, keep_proportion=False)
    return pdf


def shown(pdf: pymupdf.Document, size: tuple[int, int]) -> np.ndarray:
    """The page's rendering in the place, grey, at ``size`` (width, height)."""
    pix = pdf[0].get_pixmap(matrix=pymupdf.Matrix(2, 2), clip=pymupdf.Rect(PLACE), colorspace=pymupdf.csGRAY)
    array = np.frombuffer(pix.samples, np.uint8).reshape(pix.height, pix.width)
    return cv2.resize(array, size, interpolation=cv2.INTER_AREA)


def same(image: np.ndarray, other: np.ndarray, tolerance: float = 6) -> bool:
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(np.abs(grey.astype(float) - other).mean()) < tolerance


GREY = drawn(3, 120, 160)
SIZE = "/Width 160/Height 120/BitsPerComponent 8"


def test_a_plain_raster_is_given_pixel_for_pixel() -> None:
    got = taken(with_object(f"{SIZE}/ColorSpace/DeviceGray", GREY.tobytes()))
    assert (got.pixels, got.dpi) == ("native", None)
    assert np.array_equal(got.image, GREY)
    assert len(got.xrefs) == 1


def test_a_colour_raster_keeps_its_colours() -> None:
    colour = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)
    got = taken(with_object(f"{SIZE}/ColorSpace/DeviceRGB", colour.tobytes()))
    assert got.pixels == "native" and np.array_equal(got.image, colour)


def test_an_inverted_raster_comes_as_the_page_shows_it() -> None:
    """An inverted CT is a wrong label: /Decode [1 0] turns black to white."""
    pdf = with_object(f"{SIZE}/ColorSpace/DeviceGray/Decode[1 0]", GREY.tobytes())
    got = taken(pdf)
    assert same(got.image if got.pixels == "native" else cv2.resize(got.image, (160, 120)), 255 - GREY)
    assert same(shown(pdf, (160, 120)), 255 - GREY)


def test_an_indexed_raster_comes_in_its_palettes_colours() -> None:
    palette = bytes(value for index in range(256) for value in (255 - index, 255 - index, 255 - index))
    got = taken(with_object(f"{SIZE}/ColorSpace[/Indexed/DeviceRGB 255<{palette.hex()}>]", GREY.tobytes()))
    assert got.pixels == "native" and np.array_equal(got.image, 255 - GREY)


def test_a_cmyk_raster_is_not_inverted() -> None:
    cmyk = np.zeros((120, 160, 4), np.uint8)
    cmyk[:, :, 3] = 255 - GREY
    pdf = with_object(f"{SIZE}/ColorSpace/DeviceCMYK", cmyk.tobytes())
    got = taken(pdf)
    image = got.image if got.pixels == "native" else cv2.resize(got.image, (160, 120))
    assert same(image, shown(pdf, (160, 120)))
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert np.corrcoef(grey.ravel(), GREY.ravel())[0, 1] > 0.95


def test_a_cmyk_jpeg_of_the_adobe_kind_is_not_inverted() -> None:
    buffer = io.BytesIO()
    Image.merge("CMYK", [Image.fromarray(np.zeros_like(GREY))] * 3 + [Image.fromarray(255 - GREY)]).save(
        buffer, "JPEG", quality=95
    )
    pdf = with_object(f"{SIZE}/ColorSpace/DeviceCMYK/Filter/DCTDecode", buffer.getvalue())
    got = taken(pdf)
    image = got.image if got.pixels == "native" else cv2.resize(got.image, (160, 120))
    assert same(image, shown(pdf, (160, 120)))


def test_a_soft_mask_lays_the_raster_on_white() -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[:, :80] = 255
    pdf = with_object(
        f"{SIZE}/ColorSpace/DeviceGray/SMask MASK",
        GREY.tobytes(),
        {"MASK": (f"{SIZE}/ColorSpace/DeviceGray", mask.tobytes())},
    )
    got = taken(pdf)
    image = got.image if got.pixels == "native" else cv2.resize(got.image, (160, 120))
    assert same(image[:, 4:76], GREY[:, 4:76]) and (image[:, 84:] > 250).all()


def test_a_soft_mask_of_another_size_is_rendered() -> None:
    mask = np.full((30, 40), 255, np.uint8)
    mask[:, 20:] = 0
    size = "/Width 40/Height 30/BitsPerComponent 8"
    pdf = with_object(
        f"{SIZE}/ColorSpace/DeviceGray/SMask MASK",
        GREY.tobytes(),
        {"MASK": (f"{size}/ColorSpace/DeviceGray", mask.tobytes())},
    )
    got = taken(pdf)
    assert got.pixels == "rendered"
    assert same(cv2.resize(got.image, (160, 120)), shown(pdf, (160, 120)))


def test_jpeg_2000_is_read() -> None:
    ok, data = cv2.imencode(".jp2", GREY)
    assert ok
    got = taken(with_object(f"{SIZE}/ColorSpace/DeviceGray/Filter/JPXDecode", bytes(data)))
    assert got.pixels == "native" and same(got.image, GREY, 3)


def test_fax_coding_is_read_in_the_right_tones() -> None:
    bits = Image.fromarray(GREY > 128)
    buffer = io.BytesIO()
    bits.save(buffer, "TIFF", compression="group4")
    with Image.open(buffer) as tiff:
        start, length = tiff.tag_v2[273][0], tiff.tag_v2[279][0]
        black_is_one = tiff.tag_v2[262] == 1
    data = buffer.getvalue()[start : start + length]
    keys = f"/DecodeParms<</K -1/Columns 160/Rows 120/BlackIs1 {'true' if black_is_one else 'false'}>>"
    pdf = with_object(
        "/Width 160/Height 120/BitsPerComponent 1/ColorSpace/DeviceGray/Filter/CCITTFaxDecode" + keys, data
    )
    got = taken(pdf)
    image = got.image if got.pixels == "native" else cv2.resize(got.image, (160, 120))
    assert same(image, shown(pdf, (160, 120)), 12)


def test_one_bit_and_sixteen_bit_rasters_come_in_eight() -> None:
    packed = np.packbits(GREY > 128, axis=1).tobytes()
    got = taken(with_object("/Width 160/Height 120/BitsPerComponent 1/ColorSpace/DeviceGray", packed))
    assert (got.image.dtype == np.uint8 and set(np.unique(got.image)) <= {0, 255}) or got.pixels == "rendered"
    wide = (GREY.astype(">u2") * 257).tobytes()
    got = taken(with_object("/Width 160/Height 120/BitsPerComponent 16/ColorSpace/DeviceGray", wide))
    assert got.pixels == "native" and same(got.image, GREY, 2)


def test_a_raster_is_turned_as_its_page_is() -> None:
    for rotation in (0, 90, 180, 270):
        pdf = with_object(f"{SIZE}/ColorSpace/DeviceGray", GREY.tobytes())
        pdf[0].set_rotation(rotation)
        got = taken(pdf, tuple(pymupdf.Rect(PLACE) * pdf[0].rotation_matrix))
        assert got.pixels == "native"
        assert np.array_equal(got.image, np.rot90(GREY, -rotation // 90 % 4))


def test_a_mirrored_raster_is_mirrored() -> None:
    pdf = pymupdf.open()
    page = pdf.new_page(width=612, height=792)
    xref = page.insert_image(pymupdf.Rect(PLACE), pixmap=pixmap(GREY), keep_proportion=False)
    name = next(row[7] for row in page.get_images() if row[0] == xref)
    width, height = PLACE[2] - PLACE[0], PLACE[3] - PLACE[1]
    content = f"q {-width} 0 0 {height} {PLACE[2]} {792 - PLACE[3]} cm /{name} Do Q".encode()
    pdf.update_stream(page.get_contents()[0], content)
    got = taken(pdf)
    assert got.pixels == "native" and np.array_equal(got.image, GREY[:, ::-1])


def test_a_raster_with_marks_over_it_is_rendered_with_them() -> None:
    pdf = with_object(f"{SIZE}/ColorSpace/DeviceGray", GREY.tobytes())
    pdf[0].draw_rect((200, 150, 260, 200), color=(0, 0, 0), fill=(0, 0, 0))
    got = taken(pdf)
    assert got.pixels == "rendered" and got.dpi and got.dpi >= 96
    scale = got.image.shape[1] / (PLACE[2] - PLACE[0])
    assert got.image[round(75 * scale), round(80 * scale)].max() < 10


def test_a_clipped_raster_is_rendered() -> None:
    pdf = with_object(f"{SIZE}/ColorSpace/DeviceGray", GREY.tobytes())
    page = pdf[0]
    page.clean_contents()
    xref = page.get_contents()[0]
    pdf.update_stream(xref, b"q 150 467 150 225 re W n " + pdf.xref_stream(xref) + b" Q")
    got = taken(pdf)
    assert got.pixels == "rendered"
    assert same(cv2.resize(got.image, (160, 120)), shown(pdf, (160, 120)))


def test_several_rasters_are_rendered_no_coarser_than_they_are() -> None:
    draft = Draft()
    draft.page()
    fine = drawn(1, 600, 800)
    draft.image((100, 100, 300, 250), fine)
    draft.image((310, 100, 510, 250), fine[::-1].copy())
    got = taken(draft.pdf, (100, 100, 510, 250))
    assert got.pixels == "rendered" and len(got.xrefs) == 2
    assert got.dpi == pytest.approx(288, abs=1)
    assert got.image.shape[1] == pytest.approx(410 / 72 * 288, abs=3)


def test_limits_on_pixels() -> None:
    pdf = with_object(f"{SIZE}/ColorSpace/DeviceGray", GREY.tobytes())
    with pytest.raises(PixelError, match=r"160x120.*max_pixels"):
        taken(pdf, max_pixels=10_000)
    pdf[0].draw_rect((200, 150, 260, 200), color=(0, 0, 0), fill=(0, 0, 0))
    got = taken(pdf, max_pixels=40_000)
    assert got.image.shape[0] * got.image.shape[1] <= 41_000 and got.dpi and got.dpi < 96


def test_the_same_picture_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    assert png(GREY) == png(GREY.copy())
    (tmp_path / "a.png").write_bytes(png(GREY))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), GREY)
