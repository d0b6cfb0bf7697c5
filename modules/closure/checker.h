/* SPDX-License-Identifier: Apache-2.0 */
/* A second thread for a walk: while one speaks with the caches, the other looks at the signatures of what
 * has come. A signature costs more than the request for it. */
#pragma once

#include <pthread.h>

#include <rouse/fetch.h>

#include "answer.h"

struct rouse_checker {
	struct rouse_fetcher *fetcher; /* is woken when all is checked; borrowed */
	bool alone;                    /* no thread: one processor, or none could be had */
	bool running, stop;
	pthread_t thread;
	pthread_mutex_t mutex; /* guards what follows, and `stop` */
	pthread_cond_t given, checked;
	struct rouse_answer *todo, **todo_end, *done;
	size_t n_todo;
	bool busy; /* the thread has one in hand */
};

/* `processors`: with one, everything is checked by who takes it. */
void rouse_checker_begin(struct rouse_checker *k, struct rouse_fetcher *f, unsigned processors);
/* Ends the thread. Answers that were given and not taken are the caller's again, and no longer used. */
void rouse_checker_end(struct rouse_checker *k);
/* To be checked. The answer is the checker's until it is taken. */
void rouse_checker_give(struct rouse_checker *k, struct rouse_answer *a);
/* One that is checked, in any order; NULL when there is none yet. Helps when many wait. With `wait`, NULL
 * means that none was given which is not taken. */
struct rouse_answer *rouse_checker_take(struct rouse_checker *k, bool wait);
