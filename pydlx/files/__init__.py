"""Files: pictures read and written without losing depth or colours, and files that are replaced as a whole.

Users find `read_image` and `write_image` in `pydlx.data`.
"""

from pydlx.files.colours import ImageWarning
from pydlx.files.reading import read_image, read_rgb
from pydlx.files.replacing import check_writable, replacing
from pydlx.files.writing import png_bytes, write_image

__all__ = ["ImageWarning", "check_writable", "png_bytes", "read_image", "read_rgb", "replacing", "write_image"]
