/* SPDX-License-Identifier: Apache-2.0 */
#include "checker.h"

#include <rouse/limits.h>

void rouse_checker_begin(struct rouse_checker *k, struct rouse_fetcher *f, unsigned processors)
{
	*k = (struct rouse_checker){ .fetcher = f, .alone = processors < 2 };
	k->todo_end = &k->todo;
	(void)pthread_mutex_init(&k->mutex, NULL);
	(void)pthread_cond_init(&k->given, NULL);
	(void)pthread_cond_init(&k->checked, NULL);
}

void rouse_checker_end(struct rouse_checker *k)
{
	(void)pthread_mutex_lock(&k->mutex);
	k->stop = true;
	(void)pthread_cond_signal(&k->given);
	(void)pthread_mutex_unlock(&k->mutex);
	if (k->running)
		(void)pthread_join(k->thread, NULL);
	(void)pthread_cond_destroy(&k->checked);
	(void)pthread_cond_destroy(&k->given);
	(void)pthread_mutex_destroy(&k->mutex);
}

/* With the mutex held. */
static struct rouse_answer *next_todo(struct rouse_checker *k)
{
	struct rouse_answer *a = k->todo;

	k->todo = a->next;
	if (!k->todo)
		k->todo_end = &k->todo;
	k->n_todo--;
	return a;
}

static void *run(void *arg)
{
	struct rouse_checker *k = arg;

	(void)pthread_mutex_lock(&k->mutex);
	while (!k->stop) {
		struct rouse_answer *a;

		if (!k->todo) {
			(void)pthread_cond_wait(&k->given, &k->mutex);
			continue;
		}
		a = next_todo(k);
		k->busy = true;
		(void)pthread_mutex_unlock(&k->mutex);
		rouse_answer_check(a);
		(void)pthread_mutex_lock(&k->mutex);
		k->busy = false;
		a->next = k->done;
		k->done = a;
		(void)pthread_cond_signal(&k->checked);
		/* Not for each: it finds them when the next answer comes. */
		if (!k->todo)
			rouse_fetcher_wake(k->fetcher);
	}
	(void)pthread_mutex_unlock(&k->mutex);
	return NULL;
}

void rouse_checker_give(struct rouse_checker *k, struct rouse_answer *a)
{
	a->next = NULL;
	(void)pthread_mutex_lock(&k->mutex);
	*k->todo_end = a;
	k->todo_end = &a->next;
	k->n_todo++;
	if (k->running)
		(void)pthread_cond_signal(&k->given);
	/* One alone is checked sooner than a thread is made. */
	else if (!k->alone && k->n_todo > 1)
		k->running = !(k->alone = pthread_create(&k->thread, NULL, run, k) != 0);
	(void)pthread_mutex_unlock(&k->mutex);
}

struct rouse_answer *rouse_checker_take(struct rouse_checker *k, bool wait)
{
	struct rouse_answer *a = NULL;
	bool mine = false;

	(void)pthread_mutex_lock(&k->mutex);
	while (wait && !k->done && !k->todo && k->busy)
		(void)pthread_cond_wait(&k->checked, &k->mutex);
	if (k->done) {
		a = k->done;
		k->done = a->next;
	} else if (k->todo && (wait || k->alone || k->n_todo >= ROUSE_WALK_CHECKS)) {
		a = next_todo(k);
		mine = true;
	}
	(void)pthread_mutex_unlock(&k->mutex);
	if (mine)
		rouse_answer_check(a);
	return a;
}
