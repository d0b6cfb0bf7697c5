/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/text.h>

/* A volume is not made before its key is here. One that is yet to be made is kept in escrow when it
 * is its turn. */
static int fetch_keys(struct disks_state *state, const struct rouse_plan *plan,
		      const struct rouse_context *c, struct rouse_err *e)
{
	state->keys = rouse_calloc(plan->n_steps + 1, sizeof(*state->keys));
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct disks_action *a = plan->steps[i].arg;

		if (plan->steps[i].module != &rouse_module_disks ||
		    plan->steps[i].op != DISKS_OP_ENCRYPT || !a->luks->key)
			continue;
		if (disks_key_get(a->luks, false, c, &state->keys[state->n_keys].key, e) < 0)
			return rouse_wrap(e, "'%s'", a->name);
		state->keys[state->n_keys++].luks = a->luks;
	}
	return 0;
}

const struct rouse_buf *disks_key_of(const struct disks_state *state, const struct disks_luks *luks)
{
	for (size_t i = 0; state && i < state->n_keys; i++)
		if (state->keys[i].luks == luks)
			return &state->keys[i].key;
	return NULL;
}

int disks_prepare(const void *conf unused_arg, const struct rouse_plan *plan,
		  const struct rouse_context *c, void **ret, struct rouse_err *e)
{
	struct disks_state *state = rouse_calloc(1, sizeof(*state));

	state->plan = plan;
	*ret = state;
	return fetch_keys(state, plan, c, e);
}

void disks_session_close(struct disks_session *s)
{
	if (s->fd >= 0)
		(void)close(s->fd); /* synced before */
	if (s->lock >= 0)
		(void)close(s->lock);
	*s = (struct disks_session){ .lock = -1, .fd = -1 };
}

void disks_state_free(void *state_)
{
	struct disks_state *state = state_;

	for (size_t i = 0; state && i < state->n; i++)
		disks_session_close(&state->sessions[i]);
	for (size_t i = 0; state && i < state->n_keys; i++)
		disks_key_wipe(&state->keys[i].key);
	for (size_t i = 0; state && i < state->n_heads; i++)
		free(state->heads[i].head);
	if (state)
		free(state->keys);
	free(state);
}

/* udevd holds the lock while it probes; it gives up on its own when we have it. */
static int lock_disk(int fd, const char *device, uint64_t deadline, struct rouse_err *e)
{
	uint64_t until = rouse_clock_ms() + ROUSE_DEADLINE_DISK_LOCK;

	if (deadline && deadline < until)
		until = deadline;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK || rouse_clock_left(until) == 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot lock '%s'", device);
		rouse_clock_sleep_until(rouse_clock_ms() +
					20); /* there is no event for a free lock */
	}
	return 0;
}

static int changed(const struct disks_action *a, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, 0,
			  "'%s' has changed since the plan was made: plan again", a->device);
}

/* The plan was made from what the disk was then: is it still so, also where nothing shows yet? */
static int check_unchanged(int fd, const struct disks_action *a, struct rouse_err *e)
{
	const struct disks_range *r = a->pending ? a->pending->items : NULL;
	auto_json json_t *now = NULL;

	if (disks_inspect(fd, a->device, a->ours, a->sector, &now, e) < 0)
		return -1;
	if (!rouse_streq(json_string_value(json_object_get(now, "fingerprint")), a->fingerprint))
		return changed(a, e);
	for (size_t i = 0; r && i < a->pending->n; i++) {
		auto_json json_t *content = NULL;

		if (disks_content_read(fd, (uint64_t)r[i].start, (uint64_t)r[i].size, a->sector,
				       &content, e) < 0)
			return rouse_wrap(e, "%s", a->device);
		if (!disks_content_is(content, r[i].content))
			return changed(a, e);
	}
	return 0;
}

static int session_open(struct disks_session *s, const struct disks_action *a,
			const struct rouse_context *c, struct rouse_err *e)
{
	auto_fd int lock = open(a->device, O_RDONLY | O_CLOEXEC);
	auto_fd int fd = -1;

	if (lock < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", a->device);
	if (lock_disk(lock, a->device, c->deadline, e) < 0 || check_unchanged(lock, a, e) < 0)
		return -1;
	fd = open(a->device, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing",
				  a->device);
	(void)snprintf(s->device, sizeof(s->device), "%s", a->device);
	s->lock = take(lock, -1);
	s->fd = take(fd, -1);
	return 0;
}

int disks_session_of(struct disks_state *state, const struct disks_action *a,
		     const struct rouse_context *c, struct disks_session **ret, struct rouse_err *e)
{
	struct disks_session new = { .lock = -1, .fd = -1 };

	for (size_t i = 0; i < state->n; i++)
		if (strcmp(state->sessions[i].device, a->device) == 0) {
			*ret = &state->sessions[i];
			return 0;
		}
	if (state->n == ARRAY_SIZE(state->sessions))
		return rouse_fail(e, ROUSE_BUG, 0, "too many disks");
	if (session_open(&new, a, c, e) < 0)
		return -1;
	state->sessions[state->n] = new;
	*ret = &state->sessions[state->n++];
	return 0;
}

static bool writes_disk(const struct rouse_step *step)
{
	return step->module == &rouse_module_disks && step->op < DISKS_OP_MOUNT;
}

int disks_open_all(struct disks_state *state, const struct rouse_context *c, struct rouse_err *e)
{
	struct disks_session *s = NULL;

	for (size_t i = 0; !state->begun && i < state->plan->n_steps; i++)
		if (writes_disk(&state->plan->steps[i]) &&
		    disks_session_of(state, state->plan->steps[i].arg, c, &s, e) < 0)
			return -1;
	state->begun = true;
	return 0;
}
