# SPDX-License-Identifier: Apache-2.0
"""What the tests on disk images in Python share: sparse files, and tools that make something in them."""
import os
import subprocess

ROUSE = os.path.abspath(os.environ.get("ROUSE", "build/rouse"))
MIB = 1 << 20
os.environ["PATH"] += ":/usr/sbin:/sbin"
os.environ["LC_ALL"] = "C"


def run(*argv, data=None, fails=False):
    r = subprocess.run(argv, input=data, capture_output=True, timeout=120, check=False)
    if r.returncode and not fails:
        raise AssertionError(f"{' '.join(argv)}: {r.stdout.decode()}{r.stderr.decode()}")
    return r


def blank(path, size):
    with open(path, "wb") as f:
        f.truncate(size)


def extents(f, size):
    """The parts of a sparse file that hold data."""
    at = 0
    while at < size:
        try:
            start = os.lseek(f.fileno(), at, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(f.fileno(), start, os.SEEK_HOLE)
        yield start, end
        at = end


def content(path):
    """What is in a sparse file, as (size, {offset of 4 KiB: bytes}), without what is zero."""
    blocks = {}
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        for start, end in extents(f, size):
            start -= start % 4096
            f.seek(start)
            while start < end:
                block = f.read(4096)
                if block.count(0) != len(block):
                    blocks[start] = block
                start += 4096
    return size, blocks


def write_content(path, image):
    size, blocks = image
    with open(path, "wb") as f:
        f.truncate(size)
        for offset, block in blocks.items():
            os.pwrite(f.fileno(), block, offset)


def gpt(path, *lines):
    run("sfdisk", "-q", path, data="\n".join(("label: gpt",) + lines).encode())


def ext4(path, label, offset=0, size=None):
    run("mkfs.ext4", "-q", "-F", "-L", label, "-E", f"offset={offset}", path, *([f"{size}k"] if size else []))
