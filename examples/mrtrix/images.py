"""images.py FOLDER NUMBER…: NIfTI images in FOLDER, headNUMBER.nii for each number, and in FOLDER/dwi a diffusion series.

They stand for what a scanner would give: small, and always the same for the same number. NIfTI-1 is a header of 348 bytes,
four that say that no extension follows, and the numbers, the first axis the fastest.
"""

import random
import struct
import sys
from math import exp
from pathlib import Path


def nifti(shape: tuple[int, ...], values: list[float], voxel: float = 1.0) -> bytes:
    """An image of 32-bit floats whose voxels are cubes of `voxel` mm."""
    dimensions = (len(shape), *shape, *(1,) * (7 - len(shape)))
    header = struct.pack("<i", 348) + bytes(36) + struct.pack("<8h", *dimensions)
    header += bytes(14) + struct.pack("<hhh", 16, 32, 0)  # the type: float32, its bits
    header += struct.pack("<8f", 1, voxel, voxel, voxel, 1, 0, 0, 0)
    header += struct.pack("<fff", 352, 1, 0) + bytes(3) + b"\x02"  # where numbers begin, their scale; the unit: mm
    header += bytes(128) + struct.pack("<hh", 0, 1) + bytes(24)  # the place in space is by the rows of a matrix:
    for axis in range(3):
        row = [0.0, 0.0, 0.0, -voxel * shape[axis] / 2]
        row[axis] = voxel
        header += struct.pack("<4f", *row)
    header += bytes(16) + b"n+1\0"
    assert len(header) == 348
    return header + bytes(4) + struct.pack(f"<{len(values)}f", *values)


def head(number: int, size: int = 12) -> bytes:
    """A bright ball in the dark, of a brightness and a noise of its own."""
    chance = random.Random(number)
    bright = chance.uniform(80, 120)
    places = [i - size / 2 + 0.5 for i in range(size)]
    return nifti(
        (size, size, size),
        [
            (bright if x * x + y * y + z * z < (size / 2.5) ** 2 else 0) + chance.gauss(0, 2)
            for z in places for y in places for x in places
        ],
    )  # fmt: skip


def diffusion(folder: Path, size: int = 6) -> None:
    """One image without and twelve with diffusion weighting, of water that moves along the first axis."""
    chance = random.Random("diffusion")
    directions = [(0.0, 0.0, 0.0)]
    while len(directions) < 13:
        x, y, z = (chance.gauss(0, 1) for _ in range(3))
        length = (x * x + y * y + z * z) ** 0.5
        directions.append((x / length, y / length, z / length))
    weights = [0, *[1000] * 12]
    values = []
    for weight, (x, y, z) in zip(weights, directions):
        signal = 100 * exp(-weight * (0.0017 * x * x + 0.0003 * y * y + 0.0003 * z * z))
        values += [signal + chance.gauss(0, 1) for _ in range(size**3)]
    folder.mkdir(exist_ok=True)
    (folder / "series.nii").write_bytes(nifti((size, size, size, len(weights)), values))
    (folder / "series.bvec").write_text("".join(" ".join(f"{d[i]:.5f}" for d in directions) + "\n" for i in range(3)))
    (folder / "series.bval").write_text(" ".join(map(str, weights)) + "\n")


folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for number in map(int, sys.argv[2:]):
    (folder / f"head{number}.nii").write_bytes(head(number))
diffusion(folder / "dwi")
