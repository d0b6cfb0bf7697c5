# SPDX-License-Identifier: Apache-2.0
"""Which states disks may be in when the power goes, made of a record of writes and flushes.

A record is a list of (disk, offset, data); a flush has None for both. An image is (size, {offset of 4 KiB:
bytes}), without what is zero.
"""
import hashlib
import random
import struct

SECTOR = 512


def put(image, offset, data):
    """The image after one more write; only what changes is copied."""
    size, blocks = image
    while data:
        base = offset - offset % 4096
        n = min(len(data), base + 4096 - offset)
        old = bytearray(blocks.get(base, bytes(4096)))
        old[offset - base:offset - base + n] = data[:n]
        if old.count(0) == 4096:
            blocks.pop(base, None)
        else:
            blocks[base] = bytes(old)
        offset, data = offset + n, data[n:]
    return size, blocks


def put_zeros(image, offset, n):
    size, blocks = image
    head = min(n, -offset % 4096)
    if head:
        image = put(image, offset, bytes(head))
    tail = (offset + n) % 4096 if head < n else 0
    if tail:
        image = put(image, offset + n - tail, bytes(tail))
    for at in [at for at in blocks if offset + head <= at < offset + n - tail]:
        del blocks[at]
    return image


class Zeros:
    """So many of them, as data to write."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, part):
        return Zeros(len(range(self.n)[part]))


def digest(images):
    h = hashlib.sha256()
    for _, blocks in images:
        for offset in sorted(blocks):
            h.update(struct.pack("=Q", offset))
            h.update(blocks[offset])
        h.update(b"|")
    return h.digest()


def state(base, ops, arrived, torn):
    """The images after those writes, by their numbers, of which some are cut off: {number: bytes}."""
    images = [(size, dict(blocks)) for size, blocks in base]
    for i in sorted(list(arrived) + list(torn)):
        disk, offset, data = ops[i]
        if offset is not None:
            data = data[:torn.get(i, len(data))]
            images[disk] = (put_zeros(images[disk], offset, len(data)) if isinstance(data, Zeros)
                            else put(images[disk], offset, data))
    return images


def epochs(ops):
    """For each write: itself and the writes to the same disk before it that no flush has followed."""
    open_writes = {}
    for i, (disk, offset, _) in enumerate(ops):
        if offset is None:
            open_writes[disk] = []
        else:
            open_writes.setdefault(disk, []).append(i)
            yield i, list(open_writes[disk])


def lost(ops, rng, cap):
    """States beyond the plain prefixes, as (what, writes that arrived, torn writes {index: bytes})."""
    for i, epoch in epochs(ops):
        before = [k for k in range(i) if ops[k][1] is not None and k not in epoch]
        n = len(ops[i][2])
        if n > SECTOR:
            cut = rng.randrange(1, (n + SECTOR - 1) // SECTOR) * SECTOR
            yield f"write {i} torn after {cut} bytes", before + epoch[:-1], {i: cut}
        if len(epoch) < 2:
            continue
        choices = set()
        if len(epoch) <= 3:
            choices = {tuple(k for b, k in enumerate(epoch) if bits >> b & 1) for bits in range(1 << len(epoch))}
        else:
            choices = {(epoch[-1],), tuple(epoch[1:]), tuple(epoch[:-2] + epoch[-1:])}
            for _ in range(cap):
                choices.add(tuple(k for k in epoch if rng.random() < 0.5))
        for kept in sorted(choices):
            if list(kept) != epoch:
                yield f"write {i}, of its epoch {epoch} only {list(kept)} arrived", before + list(kept), {}
