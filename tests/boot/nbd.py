# SPDX-License-Identifier: Apache-2.0
"""Disks in memory, as network block devices on a Unix socket, that record what is written to them.

What each request means is in the specification: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md.
The name of an export is the number of the disk. No request is answered before the one before it.
"""
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../image"))
from cuts import Zeros, put, put_zeros  # noqa: E402

ZERO = bytes(4096)
OPTION_MAGIC, REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
EXPORT_NAME, ABORT, GO = 1, 2, 7
ACK, INFO, UNSUPPORTED = 1, 3, (1 << 31) + 1
READ, WRITE, DISCONNECT, FLUSH, WRITE_ZEROES = 0, 1, 2, 3, 6
HAS_FLAGS, SEND_FLUSH, SEND_WRITE_ZEROES = 1 << 0, 1 << 2, 1 << 6


def receive(s, n):
    data = bytearray()
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def read(image, offset, n):
    blocks = image[1]
    first, last = offset - offset % 4096, offset + n
    data = b"".join(blocks.get(at, ZERO) for at in range(first, last, 4096))
    return data[offset - first:offset - first + n]


class Disks:
    """`images` may be replaced while no machine uses them."""

    def __init__(self, path, images):
        self.images = images
        self.ops = []           # see cuts.py; since the last record()
        self.writes = 0         # of them
        self.stop_at = None     # the write, by its number, that is not answered …
        self.stopped = threading.Event()
        self.go_on = threading.Event()  # … before somebody says so
        self.lock = threading.Lock()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def record(self, images, stop_at=None):
        with self.lock:
            self.images, self.ops, self.writes, self.stop_at = images, [], 0, stop_at
            self.stopped.clear()
            self.go_on.clear()

    def accept(self):
        while True:
            threading.Thread(target=self.serve, args=(self.socket.accept()[0],), daemon=True).start()

    def serve(self, s):
        try:
            disk = self.negotiate(s)
            while disk is not None and self.answer(s, disk):
                pass
        except (EOFError, ConnectionError):
            pass
        s.close()

    def negotiate(self, s):
        s.sendall(b"NBDMAGIC" + struct.pack(">QH", OPTION_MAGIC, 3))
        receive(s, 4)
        while True:
            _, option, n = struct.unpack(">QII", receive(s, 16))
            data = receive(s, n)
            if option == GO:
                name = data[4:4 + struct.unpack(">I", data[:4])[0]]
                disk = int(name)
                flags = HAS_FLAGS | SEND_FLUSH | SEND_WRITE_ZEROES
                info = struct.pack(">HQH", 0, self.images[disk][0], flags)
                s.sendall(struct.pack(">QIII", REPLY_MAGIC, option, INFO, len(info)) + info)
                s.sendall(struct.pack(">QIII", REPLY_MAGIC, option, ACK, 0))
                return disk
            if option in (EXPORT_NAME, ABORT):
                return None
            s.sendall(struct.pack(">QIII", REPLY_MAGIC, option, UNSUPPORTED, 0))

    def answer(self, s, disk):
        _, _, kind, handle, offset, n = struct.unpack(">IHHQQI", receive(s, 28))
        data = receive(s, n) if kind == WRITE else b""
        if kind == DISCONNECT:
            return False
        wait = False
        with self.lock:
            if kind == READ:
                data = read(self.images[disk], offset, n)
            elif kind == FLUSH:
                self.ops.append((disk, None, None))
            else:
                wait = self.write(disk, offset, data if kind == WRITE else Zeros(n))
        if wait:
            self.stopped.set()
            self.go_on.wait(60)
        s.sendall(struct.pack(">IIQ", 0x67446698, 0, handle) + (data if kind == READ else b""))
        return True

    def write(self, disk, offset, data):
        self.ops.append((disk, offset, data))
        self.writes += 1
        change = put_zeros if isinstance(data, Zeros) else put
        self.images[disk] = change(self.images[disk], offset, len(data) if isinstance(data, Zeros) else data)
        return self.writes == self.stop_at
