#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A name server for tests.

  dns.py --bind ADDRESS --log FILE [--fail N] [--answer REGEX=ADDRESS]…

Answers for each name that REGEX matches as a whole with ADDRESS, of the family that was asked for, to
be kept for no time at all; other names do not exist. --fail answers the first N queries with SERVFAIL.
Each query is one line of the log: name, type, code. Prints "ready" when it listens.
"""
import argparse
import ipaddress
import re
import socket
import struct

TYPES = {1: "A", 28: "AAAA"}
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def question(query):
    """The name, the type, and where the question ends."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack_from("!H", query, at + 1)[0], at + 5


def reply(query, answers, failing):
    name, kind, end = question(query)
    known = [ipaddress.ip_address(address) for regex, address in answers if re.fullmatch(regex, name)]
    found = [a.packed for a in known if TYPES.get(kind) == ("A" if a.version == 4 else "AAAA")]
    code = SERVFAIL if failing else NOERROR if known else NXDOMAIN
    if code:
        found = []
    head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
    records = b"".join(struct.pack("!HHHIH", 0xc00c, kind, 1, 0, len(a)) + a for a in found)
    return f"{name} {TYPES.get(kind, kind)} {code}", head + query[12:end] + records


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bind", required=True)
    p.add_argument("--log", required=True)
    p.add_argument("--fail", type=int, default=0)
    p.add_argument("--answer", action="append", default=[])
    args = p.parse_args()
    answers = [answer.rsplit("=", 1) for answer in args.answer]
    server = socket.socket(socket.AF_INET6 if ":" in args.bind else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((args.bind, 53))
    print("ready", flush=True)
    with open(args.log, "a", buffering=1) as log:
        while True:
            query, who = server.recvfrom(4096)
            line, answer = reply(query, answers, args.fail > 0)
            args.fail -= 1
            print(line, file=log)
            server.sendto(answer, who)


if __name__ == "__main__":
    main()
