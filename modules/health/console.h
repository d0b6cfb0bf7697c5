/* SPDX-License-Identifier: Apache-2.0 */
/* What is said on consoles about the host keys of an SSH server; for tests beside modules/health/console.c. */
#pragma once

/* "256 SHA256:… root@web (ED25519)" of a line of a public key (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), as ssh-keygen
 * -l prints it; NULL: it is none. Caller frees. */
char *console_fingerprint(const char *line);
/* All ssh_host_*_key.pub of `dir`, with the lines of cloud-init around them; NULL: there are none. Caller frees. */
char *console_host_keys(const char *dir);
