"""Decoders for compressed DICOM pixels, as a plug-in of pydicom's over imagecodecs.

pydicom decodes JPEG baseline by Pillow, and RLE itself; this adds the other JPEGs, JPEG-LS and JPEG 2000. Importing
it registers them.
"""

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.pixels import get_decoder
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner

PACKAGE = "imagecodecs"
JPEG = (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
HIGH_THROUGHPUT = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
DECODER_DEPENDENCIES = dict.fromkeys((*JPEG, *JPEG_LS, *JPEG_2000, *HIGH_THROUGHPUT), (PACKAGE,))

_NO_SIZE = (0xC4, 0xC8, 0xCC)
"""JPEG markers between SOF0 and SOF15 that begin no frame."""


def is_available(syntax: str) -> bool:
    """Whether a transfer syntax can be decoded here. Asked by pydicom."""
    try:
        import imagecodecs
    except ImportError:
        return False
    return syntax in DECODER_DEPENDENCIES and (syntax not in HIGH_THROUGHPUT or hasattr(imagecodecs, "HTJ2K"))


def decode(source: bytes, runner: DecodeRunner) -> bytes:
    """One frame's bytes to its pixels', colour by pixel. Called by pydicom.

    Called by pydicom. Another size than the header's is an error: decoding it could take any amount of memory.
    """
    syntax = runner.transfer_syntax
    coded = _size_2000(source) if syntax in (*JPEG_2000, *HIGH_THROUGHPUT) else _size_jpeg(source)
    if coded != (runner.rows, runner.columns):
        raise ValueError("the frame is not of the size that the header says")
    picture = _pixels(source, syntax)
    if picture.size != runner.rows * runner.columns * runner.samples_per_pixel:
        raise ValueError("the frame has another number of samples than the header says")
    runner.set_option("bits_allocated", picture.dtype.itemsize * 8)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    if str(runner.photometric_interpretation) in ("YBR_ICT", "YBR_RCT"):
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
    return np.ascontiguousarray(picture).tobytes()


def _pixels(source: bytes, syntax: str) -> NDArray:
    import imagecodecs

    if syntax in JPEG_LS:
        return imagecodecs.jpegls_decode(source)
    if syntax in JPEG_2000:
        return imagecodecs.jpeg2k_decode(source)
    if syntax in HIGH_THROUGHPUT:
        return imagecodecs.htj2k_decode(source)
    if syntax == uid.JPEGExtended12Bit:
        return imagecodecs.jpeg8_decode(source)
    return imagecodecs.jpegsof3_decode(source)


def _size_jpeg(source: bytes) -> tuple[int, int]:
    """Height and width from the frame header of a JPEG or JPEG-LS stream (ITU-T T.81 B.2.2)."""
    at = 2
    while at + 9 <= len(source) and source[at] == 0xFF:
        marker = source[at + 1]
        if (0xC0 <= marker <= 0xCF and marker not in _NO_SIZE) or marker == 0xF7:
            return struct.unpack(">HH", source[at + 5 : at + 9])
        at += 1 if marker == 0xFF else 2 + struct.unpack(">H", source[at + 2 : at + 4])[0]
    return 0, 0


def _size_2000(source: bytes) -> tuple[int, int]:
    """Height and width of a JPEG 2000 picture, boxed or not, from its header alone."""
    with Image.open(io.BytesIO(source), formats=("JPEG2000",)) as picture:
        return picture.height, picture.width


for _syntax in DECODER_DEPENDENCIES:
    get_decoder(_syntax).add_plugin(PACKAGE, (__name__, "decode"))
