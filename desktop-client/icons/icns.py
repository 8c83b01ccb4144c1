"""Packs PNG files into an .icns, the icon file of macOS: python3 icns.py OUT.icns FOLDER, where FOLDER holds SIZE.png.

The format: `icns`, the length of the whole, then for each picture a type of four letters, its length and its bytes
(lengths are 32 bits, big-endian, and count their own header of 8 bytes).
"""

import pathlib
import struct
import sys

# Type, and the side of the picture in pixels. ic07 to ic09 are for plain screens, ic10 to ic14 for those with two pixels a
# point (ic11 is 16 points, ic12 is 32); all of them may hold PNG since Mac OS X 10.7. The types for 16 and 32 points on a
# plain screen are left out: they hold PNG badly, and the system scales the next one.
TYPES = [
    ("ic07", 128), ("ic08", 256), ("ic09", 512), ("ic10", 1024), ("ic11", 32), ("ic12", 64), ("ic13", 256), ("ic14", 512),
]


def main(out: str, folder: str) -> None:
    entries = b""
    for kind, side in TYPES:
        png = (pathlib.Path(folder) / f"{side}.png").read_bytes()
        # Width and height stand behind the signature and the header of the first chunk.
        assert struct.unpack(">II", png[16:24]) == (side, side), f"{side}.png is not {side} pixels wide and high"
        entries += kind.encode() + struct.pack(">I", len(png) + 8) + png
    pathlib.Path(out).write_bytes(b"icns" + struct.pack(">I", len(entries) + 8) + entries)


if __name__ == "__main__":
    main(*sys.argv[1:])
