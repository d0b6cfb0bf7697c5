/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the steps. A disk is locked from its first step to its last one by flock on a read-only
 * descriptor, and written through a second one that is closed first: udevd then sees no writer
 * go away outside the lock, and does not tear the partitions down to read them anew.
 */
#include "disks.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/text.h>

struct session {
	char device[256];
	int lock, fd;
};

struct state {
	size_t n;
	struct session sessions[ROUSE_MAX_DISKS];
};

int disks_prepare(const void *conf unused_arg, const struct rouse_plan *plan unused_arg,
		  const struct rouse_context *c unused_arg, void **state,
		  struct rouse_err *e unused_arg)
{
	*state = rouse_calloc(1, sizeof(struct state));
	return 0;
}

static void session_close(struct session *s)
{
	if (s->fd >= 0)
		(void)close(s->fd); /* synced before */
	if (s->lock >= 0)
		(void)close(s->lock);
	*s = (struct session){ .lock = -1, .fd = -1 };
}

void disks_state_free(void *state_)
{
	struct state *state = state_;

	for (size_t i = 0; state && i < state->n; i++)
		session_close(&state->sessions[i]);
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

/* The plan was made from what the disk was then: is it still so? */
static int check_unchanged(int fd, const struct disks_action *a, struct rouse_err *e)
{
	auto_json json_t *now = NULL;

	if (disks_inspect(fd, a->device, a->ours, a->sector, &now, e) < 0)
		return -1;
	if (!rouse_streq(json_string_value(json_object_get(now, "fingerprint")), a->fingerprint))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s' has changed since the plan was made: plan again",
				  a->device);
	return 0;
}

static int session_open(struct session *s, const struct disks_action *a,
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

static int session_of(struct state *state, const struct disks_action *a,
		      const struct rouse_context *c, struct session **ret, struct rouse_err *e)
{
	struct session new = { .lock = -1, .fd = -1 };

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

/* ---- the steps ------------------------------------------------------------------------------- */

static int write_table(const struct session *s, const struct disks_action *a, struct rouse_err *e)
{
	struct disks_target whole = {
		.fd = s->fd, .size = a->size, .sector = a->sector, .head = MIB, .what = a->device
	};

	for (size_t i = 0; i < a->n_rows; i++)
		whole.head = a->rows[i].start < whole.head ? a->rows[i].start : whole.head;

	if (disks_table_write(s->fd, a, e) < 0)
		return -1;
	/* What a stranger left between the table and the first partition would be found again. */
	return a->create ? disks_erase(&whole, e) : 0;
}

static int claim(const struct session *s, const struct disks_action *a, struct rouse_err *e)
{
	if (disks_table_forget(s->fd, a, e) < 0)
		return -1;
	return write_table(s, a, e);
}

/* Whatever the next run finds there then is our own unfinished work. */
static int mark(const struct session *s, const struct disks_action *a, struct rouse_err *e)
{
	for (size_t i = 0; i < a->n_marks; i++) {
		const struct disks_mark *m = &a->marks[i];
		const struct disks_target t = { .fd = s->fd,
						.offset = m->start,
						.size = m->size,
						.sector = a->sector,
						.uuid = m->uuid,
						.what = a->device };

		if (disks_mark_pending(&t, e) < 0 || disks_erase(&t, e) < 0)
			return -1;
	}
	return 0;
}

static int table(const struct session *s, const struct disks_action *a, struct rouse_err *e)
{
	if (mark(s, a, e) < 0 || write_table(s, a, e) < 0)
		return -1;
	return disks_table_publish(s->fd, a, e);
}

/* A partition that is there is written through its own node: the page caches of a disk and of its
 * partitions do not know of each other. O_EXCL: nobody has it mounted. */
static int open_target(const struct session *s, const struct disks_action *a,
		       struct disks_target *t, int *ret_own, struct rouse_err *e)
{
	char node[256];

	*t = (struct disks_target){ .fd = s->fd,
				    .offset = a->start,
				    .size = a->length,
				    .sector = a->sector,
				    .uuid = a->uuid,
				    .label = a->label };
	if (!a->published || !a->number || a->file)
		return 0;
	(void)disks_node(a->device, a->number, node, sizeof(node));
	*ret_own = open(node, O_RDWR | O_CLOEXEC | O_EXCL | O_NOFOLLOW);
	if (*ret_own < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing", node);
	t->fd = *ret_own;
	t->offset = 0;
	return 0;
}

/* The program opens the node itself, some of them exclusively. */
static int make_late(const struct session *s, const struct disks_action *a, struct disks_target *t,
		     int *own, struct rouse_err *e)
{
	char node[256];

	if (fsync(t->fd) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync %s", t->what);
	if (*own >= 0)
		(void)close(take(*own, -1));
	t->fd = s->fd;
	t->node = a->number ? disks_node(a->device, a->number, node, sizeof(node)) : a->device;
	return a->fs->make(t, e);
}

static int make(const struct session *s, const struct disks_action *a,
		const struct rouse_context *c, struct rouse_err *e)
{
	auto_free char *what = a->number ? rouse_asprintf("partition %u of '%s'", a->number,
							  a->device)
					 : rouse_asprintf("'%s'", a->device);
	struct disks_target t;
	auto_fd int own = -1;

	if (open_target(s, a, &t, &own, e) < 0)
		return -1;
	t.what = what;
	t.deadline = c->deadline;
	if (!a->number && disks_table_forget(s->fd, a, e) < 0)
		return -1;
	if (disks_mark_pending(&t, e) < 0 || disks_erase(&t, e) < 0)
		return -1;
	if (a->fs && a->fs->late && !a->file)
		return make_late(s, a, &t, &own, e);
	return a->fs ? a->fs->make(&t, e) : 0;
}

static int grow(const struct disks_action *a, struct rouse_err *e)
{
	auto_fd int fd = -1;

	if (!a->mount)
		return disks_grow_detached(a, e);
	fd = open(a->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", a->mount);
	return a->fs->grow(fd, a->length, e) < 0 ? rouse_wrap(e, "'%s'", a->mount) : 0;
}

/* A volume that was made for it is no longer pending then. */
static int make_on_node(const struct disks_action *a, const struct rouse_context *c,
			struct rouse_err *e)
{
	if (disks_make_on_node(a, c->deadline, e) < 0)
		return -1;
	return a->volume && a->devices ? disks_lvm_apply(DISKS_OP_FINISH, a, c, e) : 0;
}

static int run_on_disk(const struct rouse_step *step, const struct rouse_context *c,
		       struct state *state, struct rouse_err *e)
{
	const struct disks_action *a = step->arg;
	struct session *s = NULL;
	int r;

	if (session_of(state, a, c, &s, e) < 0)
		return -1;
	if (step->op == DISKS_OP_CLAIM)
		r = claim(s, a, e);
	else if (step->op == DISKS_OP_MAKE || step->op == DISKS_OP_ERASE)
		r = make(s, a, c, e);
	else
		r = table(s, a, e);
	if (r == 0 && a->last) {
		session_close(s);
		*s = state->sessions[--state->n];
	}
	return r;
}

int disks_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		struct rouse_err *e)
{
	switch ((enum disks_op)step->op) {
	case DISKS_OP_MOUNT:
		return disks_mount(step->arg, c, e);
	case DISKS_OP_SWAP:
		return disks_swap_on(step->arg, c, e);
	case DISKS_OP_GROW:
		return grow(step->arg, e);
	case DISKS_OP_ACTIVATE:
	case DISKS_OP_GROUP:
	case DISKS_OP_PHYSICAL:
	case DISKS_OP_VOLUME:
	case DISKS_OP_FINISH:
		return disks_lvm_apply(step->op, step->arg, c, e);
	case DISKS_OP_SKIP:
		return 0;
	case DISKS_OP_MAKE_VOLUME:
		return make_on_node(step->arg, c, e);
	case DISKS_OP_ASSEMBLE:
	case DISKS_OP_ARRAY:
	case DISKS_OP_ADD:
	case DISKS_OP_GROW_ARRAY:
	case DISKS_OP_FINISH_ARRAY:
		return disks_md_apply(step->op, step->arg, c, e);
	case DISKS_OP_ERASE:
	case DISKS_OP_CLAIM:
	case DISKS_OP_MAKE:
	case DISKS_OP_TABLE:
		break;
	}
	return run_on_disk(step, c, state, e);
}
