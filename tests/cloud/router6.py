#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A router and a DHCPv6 server for tests: answers solicitations on one interface.

  router6.py INTERFACE [--prefix 2001:db8:7::] [--managed ADDRESS] [--resolver ADDRESS] [--domain NAME]
             [--lose N]

Advertises itself as the default router; with --prefix so that the other side makes an address of its
own, with --managed so that it must ask for one by DHCPv6. The resolver is announced by whichever of
the two gives the address. --lose drops the first N DHCPv6 messages. Prints "ready" when it listens.
"""
import argparse
import fcntl
import select
import socket
import struct
import sys

SIOCGIFHWADDR = 0x8927


def name(domain):
    return b"".join(bytes([len(p)]) + p.encode() for p in domain.split(".")) + b"\0"


def advertisement(args, mac):
    flags = 0x80 if args.managed else 0
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, flags, 1800, 0, 0)
    body += struct.pack("!BB6s", 1, 1, mac)
    if args.prefix:
        body += struct.pack("!BBBBIII16s", 3, 4, 64, 0xc0, 86400, 3600, 0, socket.inet_pton(socket.AF_INET6, args.prefix))
    if args.resolver and not args.managed:
        body += struct.pack("!BBHI16s", 25, 3, 0, 600, socket.inet_pton(socket.AF_INET6, args.resolver))
        domain = name(args.domain)
        domain += b"\0" * (-(len(domain) + 8) % 8)
        body += struct.pack("!BBHI", 31, 1 + len(domain) // 8, 0, 600) + domain
    return body


def options(data):
    at, found = 4, {}
    while at + 4 <= len(data):
        code, n = struct.unpack_from("!HH", data, at)
        found[code] = data[at + 4:at + 4 + n]
        at += 4 + n
    return found


def option(code, data):
    return struct.pack("!HH", code, len(data)) + data


def reply(args, data):
    """The answer to a SOLICIT (1), REQUEST (3) or INFORMATION-REQUEST (11); None for anything else."""
    kind, asked = data[0], options(data)
    if kind not in (1, 3, 11) or 1 not in asked:
        return None
    server = struct.pack("!HH6s", 3, 1, b"\x02\0\0\0\0\x01")
    if kind == 3 and asked.get(2) != server:
        return None
    answer = bytes([2 if kind == 1 else 7]) + data[1:4] + option(1, asked[1]) + option(2, server)
    if 3 in asked:
        address = struct.pack("!16sII", socket.inet_pton(socket.AF_INET6, args.managed), 1800, 3600)
        answer += option(3, asked[3][:4] + struct.pack("!II", 900, 1500) + option(5, address))
    if args.resolver:
        answer += option(23, socket.inet_pton(socket.AF_INET6, args.resolver)) + option(24, name(args.domain))
    return answer


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("interface")
    p.add_argument("--prefix")
    p.add_argument("--managed")
    p.add_argument("--resolver")
    p.add_argument("--domain", default="test.example")
    p.add_argument("--lose", type=int, default=0)
    args = p.parse_args()
    index = socket.if_nametoindex(args.interface)
    icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    request = struct.pack("16s16x", args.interface.encode())
    mac = fcntl.ioctl(icmp, SIOCGIFHWADDR, request)[18:24]
    icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    for group in ("ff02::2", "ff02::1:2"):
        icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                        socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index))
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.bind(("::", 547))
    print("ready", flush=True)
    while True:
        for s in select.select([icmp, udp], [], [])[0]:
            data, who = s.recvfrom(2048)
            if s is icmp and data[0] == 133:
                icmp.sendto(advertisement(args, mac), ("ff02::1", 0, 0, index))
            elif s is udp and args.lose:
                args.lose -= 1
            elif s is udp:
                answer = reply(args, data)
                if answer:
                    udp.sendto(answer, who)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
