/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys of OpenSSH: one line of a .pub file (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; RFC 4253, section 6.6). */
#pragma once

#include <stdbool.h>

/* A whole key of a type that sshd takes, with nothing before its type. */
bool rouse_is_ssh_key(const char *line);
/* "256 SHA256:… root@web (ED25519)", as ssh-keygen(1) -l prints it; NULL: it is no such key. Caller frees. */
char *rouse_ssh_fingerprint(const char *line);
