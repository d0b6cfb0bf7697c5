#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What was on a disk before: each kind of content is refused by name or adopted, as documented.

For each kind, documents that want partitions, or a filesystem on the whole disk, are applied: without
consent nothing changes, on any disk of the document (SHA-256 of each, before and after); with the consent
that the refusal suggests, the disk is given up, and a second plan is empty; what nobody can tell (opaque,
damaged, contradictory) is refused whatever the consent.

    tests/image/foreign.py [KIND…]
"""
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

sys.dont_write_bytecode = True
from images import MIB, ROUSE, blank, content, ext4, gpt, run, write_content  # noqa: E402

SIZE = 64 * MIB
TWO = {"/boot": {"size": "4MiB", "filesystem": "vfat"}, "/": {"filesystem": "ext4"}}
KINDS = {}


def kind(expect, never=False, adopted=None, size=SIZE):
    """`expect`: words of the refusal. `never`: no consent helps. `adopted`: a document for "partitions", or
    for a "filesystem" on the whole disk, takes it as it is: what is wanted is there."""
    def add(f):
        KINDS[f.__name__.replace("_", " ").strip()] = (f, expect, never, adopted, size)
        return f
    return add


def put(path, *pieces):
    with open(path, "r+b") as f:
        for offset, data in pieces:
            f.seek(offset if offset >= 0 else os.path.getsize(path) + offset)
            f.write(data)


def magic(name, expect, *pieces, never=False):
    """A kind that is no more than a few bytes."""
    def f(path):
        put(path, *pieces)
    f.__name__ = name
    kind(expect, never)(f)


# ---- filesystems by their own tools ----------------------------------------------------------------


@kind("ext2")
def ext2(path):
    run("mkfs.ext2", "-q", "-F", "-L", "old", path)


@kind("ext3 'old'")
def ext3(path):
    run("mkfs.ext3", "-q", "-F", "-L", "old", path)


@kind("ext4 'old'", adopted="filesystem")
def ext4_(path):
    ext4(path, "old")


@kind("ext4 'old'", adopted="filesystem")
def ext4_with_blocks_of_1_KiB(path):
    run("mkfs.ext4", "-q", "-F", "-b", "1024", "-L", "old", path)


@kind("jbd")
def journal_of_ext4(path):
    run("mke2fs", "-q", "-F", "-O", "journal_dev", path)


@kind("xfs 'old'", size=400 * MIB)
def xfs(path):
    run("mkfs.xfs", "-q", "-L", "old", path)


@kind("btrfs 'old'", size=160 * MIB)
def btrfs(path):
    run("mkfs.btrfs", "-q", "-L", "old", path)


@kind("vfat 'OLD'")
def fat16(path):
    run("mkfs.vfat", "-F", "16", "-n", "OLD", path)


@kind("vfat 'OLD'")
def fat32(path):
    run("mkfs.vfat", "-F", "32", "-n", "OLD", path)


@kind("ntfs 'Old data'")
def ntfs(path):
    run("mkntfs", "-F", "-Q", "-q", "-L", "Old data", path)


@kind("swap 'old'")
def swap(path):
    run("mkswap", "-q", "-L", "old", path)


@kind("minix")
def minix(path):
    run("mkfs.minix", path)


@kind("bfs")
def bfs(path):
    run("mkfs.bfs", path)


@kind("iso9660 'OLD'")
def iso9660(path):
    with tempfile.TemporaryDirectory() as d, open(path + ".iso", "wb") as f:
        r = subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "OLD", "-o", path + ".iso", d],
                           capture_output=True, timeout=60, check=False)
        assert r.returncode == 0, r.stderr
        f.close()
        with open(path + ".iso", "rb") as iso:
            put(path, (0, iso.read()))
    os.unlink(path + ".iso")


@kind("crypto_LUKS")
def luks1(path):
    run("cryptsetup", "-q", "luksFormat", "--type", "luks1", "--pbkdf-force-iterations", "1000", path, data=b"secret")


@kind("crypto_LUKS")
def luks2(path):
    run("cryptsetup", "-q", "luksFormat", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", path,
        data=b"secret")


@kind("crypto_LUKS")
def luks2_of_which_the_first_header_is_lost(path):
    luks2(path)
    put(path, (0, bytes(4096)))


@kind("DM_verity_hash")
def verity(path):
    blank(path + ".data", 4 * MIB)
    run("veritysetup", "format", path + ".data", path)
    os.unlink(path + ".data")


# ---- by their magic: what a prober needs of them, and no more ------------------------------------------


def crc_lvm(data):
    return zlib.crc32(data, 0xf597a6cf ^ 0xffffffff) ^ 0xffffffff


@kind("LVM2_member")
def lvm2_physical_volume(path):
    body = struct.pack("<I8s", 32, b"LVM2 001") + b"0123456789abcdef0123456789abcdef" + struct.pack("<Q", SIZE) + bytes(424)
    body = body[:492]
    put(path, (512, b"LABELONE" + struct.pack("<QI", 1, crc_lvm(body)) + body))


@kind("linux_raid_member")
def md_1_2(path):
    put(path, (4096, struct.pack("<II8x16s32s", 0xa92b4efc, 1, b"0123456789abcdef", b"host:name") + bytes(80) +
               struct.pack("<Q", 8)))


@kind("linux_raid_member")
def md_0_90(path):
    put(path, (SIZE - 65536, struct.pack("<IIII", 0xa92b4efc, 0, 90, 0)))


@kind("linux_raid_member")
def md_1_0_at_the_end(path):
    at = (SIZE // 512 - 16) & ~7
    put(path, (at * 512, struct.pack("<II8x16s32s", 0xa92b4efc, 1, b"0123456789abcdef", b"host:name") + bytes(80) +
               struct.pack("<Q", at)))


@kind("zfs_member")
def zfs(path):
    uberblock = struct.pack("<QQ", 0x00bab10c, 5000)
    put(path, *[(base + 128 * 1024 + 1024 * n, uberblock) for base in (0, 256 * 1024, SIZE - 512 * 1024, SIZE - 256 * 1024)
                for n in range(8)])


magic("ceph bluestore", "ceph_bluestore", (0, b"bluestore block device\n"))
magic("reiserfs", "reiserfs", (65536, struct.pack("<IIII", 16000, 100, 0, 18) + bytes(28) + struct.pack("<H", 4096) + bytes(6) + b"ReIsEr2Fs"))
magic("reiser4", "reiser4", (65536, b"ReIsEr4" + bytes(9) + struct.pack("<H", 4096)))
magic("squashfs", "squashfs", (0, b"hsqs" + bytes(24) + struct.pack("<HH", 4, 0)))
magic("romfs", "romfs", (0, b"-rom1fs-" + bytes(8) + b"old\0"))
magic("hfs", "hfs", (1024, b"BD" + bytes(18) + struct.pack(">I", 4096) + bytes(12)))
magic("ufs", "ufs", (8192 + 1372, struct.pack("<I", 0x00011954)))
magic("vxfs", "vxfs", (1024, b"\xf5\xfc\x01\xa5"))
magic("hpfs", "hpfs", (16 * 512, b"\x49\xe8\x95\xf9\xc5\xe9\x53\xfa" + b"\2"), (17 * 512, b"\x49\x18\x91\xf9"))
magic("oracle asm", "oracleasm", (32, b"ORCLDISK"))
magic("vmfs", "VMFS", (2048 * 1024, b"\x5e\xf1\xab\x2f"))
magic("vmfs volume", "VMFS_volume_member", (1024 * 1024, b"\x0d\xd0\x01\xc0"))
magic("netware", "nss", (4096, b"SPB5"))
magic("vdo", "vdo", (0, b"dmvdo001"))
magic("ubifs", "ubifs", (0, b"\x31\x18\x10\x06"))
magic("ubi", "ubi", (0, b"UBI#"))
magic("refs", "ReFS", (0, b"\0\0\0ReFS\0"))
magic("erofs", "erofs", (1024, b"\xe2\xe1\xf5\xe0" + bytes(8) + b"\x0c"))
magic("hibernated system", "swsuspend", (4086, b"S1SUSPEND\0"))
magic("ocfs2", "ocfs2", (2048, b"OCFSV2"))
magic("gfs2", "gfs2", (65536, struct.pack(">I", 0x01161970) + bytes(20) + struct.pack(">III", 1801, 1900, 0)))
magic("promise raid", "promise_fasttrack_raid_member", (SIZE - 63 * 512, b"Promise Technology, Inc."))
magic("intel raid", "isw_raid_member", (SIZE - 1024, b"Intel Raid ISM Cfg Sig. 1.0.00"))
magic("lsi raid", "lsi_mega_raid_member", (SIZE - 512, b"$XIDE$"))
magic("ddf raid", "ddf_raid_member", (SIZE - 512, struct.pack(">I", 0xde11de11) + bytes(28 + 24) ), (SIZE - 512 + 32, b"01.00.00"))
magic("highpoint raid", "hpt45x_raid_member", (SIZE - 11 * 512, struct.pack("<I", 0x5a7816f3)))


# ---- other tables ------------------------------------------------------------------------------------


def sfdisk(path, label, *lines):
    run("sfdisk", "-q", path, data="\n".join((f"label: {label}",) + lines).encode())


@kind("a partition table with 1 partition (ntfs 'Temporary Storage')")
def azures_temporary_disk(path):
    sfdisk(path, "dos", "start=2048,type=7")
    blank(path + ".part", SIZE - MIB)
    run("mkntfs", "-F", "-Q", "-q", "-L", "Temporary Storage", "-s", "512", "-p", "2048", "-H", "255", "-S", "63", path + ".part")
    _, blocks = content(path + ".part")
    put(path, *[(MIB + offset, block) for offset, block in blocks.items()])
    os.unlink(path + ".part")


@kind("a partition table with 2 partitions")
def mbr_with_two_partitions(path):
    sfdisk(path, "dos", "size=16M,type=83", "size=16M,type=82")


@kind("a partition table with")
def mbr_with_logical_partitions(path):
    sfdisk(path, "dos", "size=8M,type=83", "size=32M,type=5", "size=8M,type=83", "size=8M,type=83")


@kind("a partition table with 0 partitions")
def mbr_without_partitions(path):
    sfdisk(path, "dos")


@kind("a partition table")
def sun_disklabel(path):
    sfdisk(path, "sun")


@kind("a partition table")
def sgi_disklabel(path):
    sfdisk(path, "sgi")


@kind("data without a signature", never=True)
def bsd_disklabel(path):  # which libblkid looks for in partitions only
    label = bytearray(148 + 8 * 16)
    struct.pack_into("<I", label, 0, 0x82564557)
    struct.pack_into("<IHHII", label, 132, 0x82564557, 0, 8, 8192, 8192)
    struct.pack_into("<IIIBBH", label, 148, 100, 16, 1024, 7, 8, 16)
    checksum = 0
    for word in struct.unpack(f"<{len(label) // 2}H", label):
        checksum ^= word
    struct.pack_into("<H", label, 136, checksum)
    put(path, (512, bytes(label)))


@kind("a partition table")
def apple_partition_map(path):
    put(path, (0, b"ER" + struct.pack(">HI", 512, SIZE // 512)),
        (512, b"PM\0\0" + struct.pack(">III", 1, 1, 63) + b"Apple".ljust(32, b"\0") + b"Apple_partition_map".ljust(32, b"\0")))


@kind("a GPT with 2 partitions (ext4 'old')")
def gpt_of_somebody_else(path):
    gpt(path, "size=16M,name=a", "size=16M,name=b")
    ext4(path, "old", MIB, 16384)


@kind("a GPT with 1 partition (crypto_LUKS)")
def gpt_with_luks(path):
    gpt(path, "size=32M")
    blank(path + ".part", 32 * MIB)
    luks2(path + ".part")
    _, blocks = content(path + ".part")
    put(path, *[(MIB + offset, block) for offset, block in blocks.items()])
    os.unlink(path + ".part")


@kind("a GPT with 0 partitions")
def gpt_without_partitions(path):
    gpt(path)


@kind("a GPT with 1 partition")
def gpt_on_a_disk_that_grew(path):
    os.truncate(path, SIZE // 2)
    gpt(path, "size=16M")
    ext4(path, "old", MIB, 16384)
    os.truncate(path, SIZE)


@kind("a GPT with 1 partition (ext4 'old')")
def gpt_with_hybrid_mbr(path):
    gpt(path, "size=16M")
    ext4(path, "old", MIB, 16384)
    put(path, (446 + 16, struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\xff" * 3, 2048, 16 * 2048)))


@kind("a GPT with 1 partition")
def gpt_of_which_the_first_header_is_lost(path):
    gpt_with_one(path)
    put(path, (512, bytes(512)))


@kind("a GPT with 1 partition")
def gpt_of_which_the_backup_is_lost(path):
    gpt_with_one(path)
    put(path, (-512, bytes(512)))


def gpt_with_one(path):
    gpt(path, "size=16M")
    ext4(path, "old", MIB, 16384)


# ---- damaged, contradictory, unknown -------------------------------------------------------------------


@kind("protective MBR is missing", never=True)
def gpt_without_protective_mbr(path):
    gpt_with_one(path)
    put(path, (0, bytes(512)))


@kind("what is left of a GPT", never=True)
def gpt_of_which_both_headers_are_lost(path):
    gpt_with_one(path)
    put(path, (512, bytes(512)), (-512, bytes(512)))


@kind("neither of its two headers is right", never=True)
def gpt_of_which_both_checksums_are_wrong(path):
    gpt_with_one(path)
    put(path, (512 + 60, b"x"), (-512 + 60, b"x"))


@kind("neither of its two headers is right", never=True)
def gpt_of_which_all_entries_are_damaged(path):
    gpt_with_one(path)
    put(path, (1024 + 60, b"x"), (-33 * 512 + 60, b"x"))


@kind("what is left of a GPT", never=True)
def gpt_whose_first_header_is_lost_on_a_disk_that_grew(path):
    os.truncate(path, SIZE // 2)
    gpt_with_one(path)
    put(path, (512, bytes(33 * 512)))
    os.truncate(path, SIZE)


@kind("the disk has grown, and the backup at its old end is lost", never=True)
def gpt_whose_backup_is_lost_on_a_disk_that_grew(path):
    os.truncate(path, SIZE // 2)
    gpt_with_one(path)
    put(path, (-512, bytes(512)))
    os.truncate(path, SIZE)


@kind("smaller than its table says", never=True)
def gpt_on_a_disk_that_shrank(path):
    gpt_with_one(path)
    os.truncate(path, SIZE // 2)


def rewrite_gpt(path, entries, **header):
    """The GPT of one partition with other entries, or header fields, and right checksums all the same."""
    last = os.path.getsize(path) // 512 - 1
    for lba, table in ((1, 2), (last, last - 32)):
        with open(path, "rb") as f:
            f.seek(lba * 512)
            raw = bytearray(f.read(512))
        struct.pack_into("<I", raw, 88, zlib.crc32(entries))
        for offset, value in header.get("fields", {}).items():
            struct.pack_into("<I", raw, offset, value)
        struct.pack_into("<I", raw, 16, 0)
        struct.pack_into("<I", raw, 16, zlib.crc32(bytes(raw[:92])))
        put(path, (lba * 512, bytes(raw)), (table * 512, entries))


def entry(number, first, last):
    return (bytes.fromhex("af3dc60f838472478e793d69d8477de4") + struct.pack("<QQ", number, number) +
            struct.pack("<QQQ", first, last, 0)).ljust(128, b"\0")


@kind("its partitions overlap", never=True)
def gpt_whose_partitions_overlap(path):
    gpt_with_one(path)
    rewrite_gpt(path, (entry(1, 2048, 40000) + entry(2, 30000, 50000)).ljust(16384, b"\0"))


@kind("beyond the end of the disk", never=True)
def gpt_whose_partition_ends_behind_the_disk(path):
    gpt_with_one(path)
    rewrite_gpt(path, entry(1, 2048, 1 << 40).ljust(16384, b"\0"))


@kind("a number or size that nobody uses", never=True)
def gpt_with_256_entries(path):
    gpt_with_one(path)
    rewrite_gpt(path, entry(1, 2048, 40000).ljust(16384, b"\0"), fields={80: 256})


@kind("a protective MBR without a GPT", never=True)
def protective_mbr_alone(path):
    put(path, (446, struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff" * 3, 1, SIZE // 512 - 1)), (510, b"\x55\xaa"))


@kind("a partition table with 0 partitions")
def boot_signature_alone(path):
    put(path, (510, b"\x55\xaa"))


@kind("data without a signature", never=True)
def random_bytes(path):
    put(path, (0, os.urandom(4 * MIB)))


@kind("data without a signature", never=True)
def random_bytes_from_the_second_sector_on(path):
    put(path, (512, os.urandom(512 * 1024)))


@kind("data without a signature", never=True)
def random_bytes_at_the_end(path):
    put(path, (-65536, os.urandom(65536)))


@kind("data without a signature", never=True)
def one_byte_that_is_not_zero(path):
    put(path, (777777, b"x"))


@kind("data without a signature", never=True)
def text(path):
    put(path, (0, b"Remember: the backup of the accounts is on this disk.\n" * 2000))


@kind("data without a signature", never=True)
def plain_encryption_which_is_random_all_over(path):
    put(path, *[(n * MIB, os.urandom(65536)) for n in range(SIZE // MIB)])


@kind("crypto_LUKS, swap 'old'", never=True)
def two_signatures_that_contradict(path):
    swap(path)
    put(path, (0, b"LUKS\xba\xbe\0\1"))


@kind("linux_raid_member", never=True)
def md_beneath_ext4(path):
    ext4(path, "old")
    md_1_0_at_the_end(path)


@kind("DM_verity_hash, ext4 'old'", never=True)
def ext4_beneath_verity(path):
    verity(path)
    blank(path + ".ext4", 16 * MIB)
    ext4(path + ".ext4", "old")
    with open(path + ".ext4", "rb") as f:
        f.seek(1024)
        put(path, (1024, f.read(1024)))
    os.unlink(path + ".ext4")


# ---- half-made by rouse ------------------------------------------------------------------------------


def other_document(path, **disk):
    """What another document of rouse makes there: another seed, so other identities."""
    with open(path + ".json", "w", encoding="utf-8") as f:
        json.dump({"rouse": 1, "seed": "another", "disks": {"d": dict(device="root", **disk)}}, f)
    run(ROUSE, "apply", "--yes", "--disk", f"d={path}", path + ".json")
    os.unlink(path + ".json")


@kind("a GPT with 2 partitions (vfat 'BOOT', ext4 'root')", adopted="partitions")
def disk_of_another_document(path):
    other_document(path, partitions=TWO)


@kind("ext4 'd'", adopted="filesystem")
def whole_disk_of_another_document(path):
    other_document(path, filesystem="ext4")


@kind("a GPT with 0 partitions")
def claim_of_another_document(path):
    other_document(path, partitions={"a": {}})
    rewrite_gpt(path, bytes(16384))


@kind("rouse-undone")
def pending_mark_of_another_document(path):
    sb = bytearray(1024)
    sb[0], sb[4], sb[24], sb[33], sb[40], sb[58], sb[76], sb[89] = 16, 64, 2, 128, 16, 2, 1, 1
    sb[56:58] = b"\x53\xef"
    sb[104:120] = bytes(range(16))
    sb[120:132] = b"rouse-undone"
    put(path, (1024, bytes(sb)))


# ---- the test -------------------------------------------------------------------------------------------


class Case:
    def __init__(self, top, name):
        self.top = top
        self.name = name
        self.make, self.expect, self.never, self.adopted, self.size = KINDS[name]
        self.disks = {"blank": f"{top}/blank.img", "d": f"{top}/d.img"}
        self.runs = 0

    def rouse(self, command, document):
        with open(f"{self.top}/doc.json", "w", encoding="utf-8") as f:
            json.dump({"rouse": 1, "disks": document}, f)
        argv = [ROUSE, command] + (["--yes"] if command == "apply" else [])
        argv += [a for name in document for a in ("--disk", f"{name}={self.disks[name]}")]
        r = subprocess.run(argv + [f"{self.top}/doc.json"], capture_output=True, timeout=120, check=False)
        self.runs += 1
        return r.returncode, (r.stdout + r.stderr).decode(errors="replace")

    def digests(self):
        out = []
        for path in self.disks.values():
            h = hashlib.sha256()
            size, blocks = content(path)
            for offset in sorted(blocks):
                h.update(struct.pack("=Q", offset))
                h.update(blocks[offset])
            out.append((size, h.hexdigest()))
        return out

    def refused(self, words, disk):
        """With a blank disk before it in the document, which must not be touched, either."""
        document = {"blank": {"device": "/dev/blank", "filesystem": "ext4"}, "d": dict(device="/dev/d", **disk)}
        before = self.digests()
        status, text = self.rouse("apply", document)
        assert status == 78, f"exit {status}: {text}"
        assert words in text, f"'{words}' is not in: {text}"
        assert self.digests() == before, f"a disk has changed although it was refused: {text}"
        return text

    def replaced(self, disk, refusal):
        consent = json.loads(re.search(r'"replace": (\[.*?\]) to disks', refusal).group(1))
        document = {"d": dict(device="/dev/d", replace=consent, **disk)}
        status, text = self.rouse("apply", document)
        assert status == 0, f"with {consent}: exit {status}: {text}"
        status, text = self.rouse("plan", document)
        assert "plan: nothing to change" in text, f"after it was replaced: {text}"
        del document["d"]["replace"]
        status, text = self.rouse("plan", document)
        assert "plan: nothing to change" in text, f"without the consent, which is spent: {text}"

    def run(self):
        blank(self.disks["blank"], 32 * MIB)
        blank(self.disks["d"], self.size)
        self.make(self.disks["d"])
        image = content(self.disks["d"])
        for disk in ({"partitions": TWO}, {"filesystem": "ext4"}):
            write_content(self.disks["d"], image)
            if self.adopted in disk:
                before = self.digests()
                status, text = self.rouse("apply", {"d": dict(device="/dev/d", **disk)})
                assert status == 0 and "nothing to change" in text, f"exit {status}: {text}"
                assert self.digests() == before, "a disk has changed although all of it was kept"
                continue
            text = self.refused(self.expect, disk)
            self.refused(self.expect, dict(disk, replace=["f2fs:something else"]))
            if self.never:
                self.refused(self.expect, dict(disk, replace=["anything"]))
            else:
                self.replaced(disk, text)


def main():
    needed = ["sfdisk", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "mkfs.vfat", "mkntfs", "mkswap", "mkfs.minix", "mkfs.bfs",
              "xorriso", "cryptsetup", "veritysetup"]
    missing = [tool for tool in needed if not shutil.which(tool)]
    if missing:
        print(f"1..0 # SKIP needs {', '.join(missing)}")
        return 0
    names = [n for n in KINDS if not sys.argv[1:] or n in sys.argv[1:]]
    print(f"1..{len(names)}", flush=True)
    failed = runs = 0
    for i, name in enumerate(names, 1):
        with tempfile.TemporaryDirectory() as top:
            case = Case(top, name)
            try:
                case.run()
                print(f"ok {i} - {name}", flush=True)
            except (AssertionError, AttributeError) as e:
                failed += 1
                print(f"not ok {i} - {name}", flush=True)
                print("".join(f"# {line}\n" for line in str(e).splitlines()[:20]), end="", flush=True)
            runs += case.runs
    print(f"# {len(names)} kinds of content, {runs} runs of the agent")
    return bool(failed)


sys.exit(main())
