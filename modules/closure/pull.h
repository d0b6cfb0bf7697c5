/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pull while it runs, shared by its parts. In the confined child: job.c has the archives in flight,
 * child.c the threads. In the parent: listen.c hears what the child says, finish.c moves what is complete
 * into the store and registers it, pull.c has the order and the end.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "graph.h"
#include "room.h"
#include "store.h"

struct pull {
	struct rouse_closure *c;
	const struct rouse_context *ctx;
	struct rouse_store *store; /* NULL: archives are looked at and go nowhere */
	int tell;                  /* in the child: to its parent */

	pthread_mutex_t mutex;        /* guards what follows */
	pthread_cond_t changed;       /* a worker ended */
	struct rouse_path **queue;    /* largest first; next … n_queue are to be done */
	size_t next, n_queue;         /* the workers take from both ends */
	uint64_t queue_bytes;         /* of the queue, unpacked, when the workers started */
	struct rouse_path **finished; /* complete in the staging directory, or in the store */
	size_t n_finished, n_registered, n_kept; /* kept: by an earlier run */
	int journal; /* tells the next run what is complete in the staging directory; -1: none */
	struct rouse_path **failed; /* their cache could not deliver; another one may */
	size_t n_failed;
	unsigned running; /* workers */
	struct worker
		*wide; /* the one whose decoders have more memory than was reckoned; or NULL */
	unsigned most_workers;  /* as many as there are processors for; const once started */
	struct rouse_err error; /* the first fatal one; stops everything */

	uint64_t bytes;   /* unpacked so far; atomic */
	uint64_t flushed; /* … when the disk was last told to write */
	uint64_t moved;   /* when an archive last got further; atomic */
	uint64_t window;  /* the largest that a zstd decoder has had; 0: none yet; atomic */
	bool stop;        /* atomic copy of error.kind != 0 */
};

void pull_fail(struct pull *p, const struct rouse_err *e);
/* Of one archive: may another cache have it? Else everything stops. Both processes judge alike. */
void pull_note_failed(struct pull *p, struct rouse_path *path, const struct rouse_err *e);

/* A thread: works off the queue with `parallel` archives in flight, until it is empty or p->stop. */
#define PULL_DECODERS 4
struct worker {
	struct pull *p;
	pthread_t thread;
	struct rouse_fetcher *fetcher;
	unsigned parallel;
	char *buf;         /* where decoders of this thread put their output */
	struct job *jobs;  /* running */
	struct job *spare; /* ended, and to be used again */
	struct rouse_unpack *decoders[PULL_DECODERS]; /* … without work */
	unsigned n_decoders, n_wide;
	struct room room;
};
void *worker_run(void *worker);

/* What an earlier run left complete in the staging directory need not be fetched again. */
must_check int finish_begin(struct pull *p, struct rouse_err *e);
/* Notes that a path is complete in the staging directory. */
must_check int finish_note(struct pull *p, struct rouse_path *path, struct rouse_err *e);
/* Was it complete already, by an earlier run? Then it is taken. */
bool finish_has(struct pull *p, struct rouse_path *path);
/* Moves what is complete with all it references into the store, makes it durable and registers it. */
must_check int finish_register(struct pull *p, struct rouse_err *e);
/* Ends; `again`: another run will go on, and what is complete waits for it. */
void finish_end(struct pull *p, bool again);
