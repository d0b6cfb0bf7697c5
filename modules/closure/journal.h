/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store.c and journal.c: the staging directories of runs that ended early. */
#pragma once

#include "store.h"

/* Takes over the staging directory of an interrupted run, if there is one with a journal that can be
 * believed: s->staging and s->kept. What is in it and not kept is removed. */
void rouse_journal_adopt(struct rouse_store *s);
/* A store that is mounted read-only, as NixOS has it, is reached through a mount of our own that can be
 * written, as Nix does; nobody else sees that one. */
must_check int rouse_store_writable(struct rouse_store *s, struct rouse_err *e);
