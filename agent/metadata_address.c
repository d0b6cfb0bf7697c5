/* SPDX-License-Identifier: Apache-2.0 */
#include "metadata_address.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <rouse/auto.h>

/*
 * Where metadata services give out credentials, however the address is written or resolved: a
 * document's URL must not lead there.
 */
static const struct {
	int family;
	unsigned bits;
	uint8_t address[16];
} metadata[] = {
	{ AF_INET, 16, { 169, 254 } },           /* EC2, GCE, Azure, OpenStack… */
	{ AF_INET, 32, { 168, 63, 129, 16 } },   /* Azure's wire server */
	{ AF_INET, 32, { 100, 100, 100, 200 } }, /* Alibaba */
	{ AF_INET6, 10, { 0xfe, 0x80 } },        /* OpenStack: fe80::a9fe:a9fe */
	{ AF_INET6, 128, { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, 0x54 } },             /* EC2 */
	{ AF_INET6, 128, { 0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54 } },             /* GCE */
	{ AF_INET6, 128, { 0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe } }, /* Oracle */
	{ AF_INET6, 128, { 0xfd, 0x00, 0xa9, 0xfe, 0xa9, 0xfe, [15] = 0x01 } },       /* Akamai */
	{ AF_INET6, 128, { 0xfd, 0x00, 0x00, 0x42, [15] = 0x42 } },                   /* Scaleway */
};

/* The IPv4 address that an IPv6 one stands for (::ffff:0:0/96, and 64:ff9b::/96 of NAT64), or NULL. */
static const uint8_t *embedded_address(const uint8_t *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	return memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0 ? a + 12 : NULL;
}

bool metadata_address_is(int family, const void *address)
{
	const uint8_t *a = address, *v4 = family == AF_INET6 ? embedded_address(a) : NULL;

	if (v4)
		return metadata_address_is(AF_INET, v4);
	for (size_t i = 0; i < ARRAY_SIZE(metadata); i++) {
		size_t bytes = metadata[i].bits / 8, rest = metadata[i].bits % 8;

		if (metadata[i].family == family && memcmp(a, metadata[i].address, bytes) == 0 &&
		    (!rest || (a[bytes] ^ metadata[i].address[bytes]) >> (8 - rest) == 0))
			return true;
	}
	return false;
}
