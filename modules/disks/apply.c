/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the steps: those on disks here, through sessions, and all others by whom they belong to. */
#include "session.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/text.h>

static int write_table(const struct disks_session *s, const struct disks_action *a,
		       struct rouse_err *e)
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

/* A descriptor that nobody gets beside a mount, a volume or a partition in use; -1 for files. A
 * partition's node is the kernel's own; a link there would be somebody's mistake. */
static int open_alone(const struct disks_action *a, int *ret, struct rouse_err *e)
{
	char node[256];
	const char *path = a->number ? disks_node(a->device, a->number, node, sizeof(node))
				     : a->device;

	*ret = -1;
	if (a->file)
		return 0;
	*ret = open(path, O_RDWR | O_CLOEXEC | O_EXCL | (a->number ? O_NOFOLLOW : 0));
	if (*ret < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing", path);
	return 0;
}

static int claim(const struct disks_session *s, const struct disks_action *a, struct rouse_err *e)
{
	auto_fd int alone = -1;

	if (open_alone(a, &alone, e) < 0)
		return -1;
	if (disks_table_forget(s->fd, a, e) < 0)
		return -1;
	return write_table(s, a, e);
}

/* Whatever the next run finds there then is our own unfinished work. */
static int mark(const struct disks_session *s, const struct disks_action *a, struct rouse_err *e)
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

static int table(const struct disks_session *s, const struct disks_action *a, struct rouse_err *e)
{
	if (mark(s, a, e) < 0 || write_table(s, a, e) < 0)
		return -1;
	return disks_table_publish(s->fd, a, e);
}

/* A partition that is there is written through its own node: the page caches of a disk and of its
 * partitions do not know of each other. */
static int open_target(const struct disks_session *s, const struct disks_action *a,
		       struct disks_target *t, int *ret_own, struct rouse_err *e)
{
	*t = (struct disks_target){ .fd = s->fd,
				    .offset = a->start,
				    .size = a->length,
				    .sector = a->sector,
				    .uuid = a->uuid,
				    .label = a->label,
				    .mkfs = a->mkfs };
	if (!a->published || a->file)
		return 0;
	if (open_alone(a, ret_own, e) < 0)
		return -1;
	t->fd = *ret_own;
	t->offset = 0;
	return 0;
}

/* The program opens the node itself, some of them exclusively. */
static int make_late(const struct disks_session *s, const struct disks_action *a,
		     struct disks_target *t, int *own, char node[static 256], struct rouse_err *e)
{
	if (disks_sync(t->fd, t->what, e) < 0)
		return -1;
	if (*own >= 0)
		(void)close(take(*own, -1));
	t->fd = s->fd;
	t->node = a->number ? disks_node(a->device, a->number, node, 256) : a->device;
	return a->fs->make(t, e);
}

/* What a prober sees is what was wanted, and nothing beside it. */
static int check_made(const struct disks_action *a, const struct disks_target *t,
		      struct rouse_err *e)
{
	auto_fd int own = t->node ? open(t->node, O_RDONLY | O_CLOEXEC) : -1;
	auto_json json_t *content = NULL;
	char uuid[DISKS_GUID_LEN];
	const json_t *s;

	if (t->node && own < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", t->node);
	if (disks_content_read(t->node ? own : t->fd, t->node ? 0 : t->offset, t->size, t->sector,
			       &content, e) < 0)
		return -1;
	a->fs->print_uuid(a->uuid, uuid);
	s = json_array_get(json_object_get(content, "signatures"), 0);
	if (json_array_size(json_object_get(content, "signatures")) != 1 ||
	    !rouse_streq(json_string_value(json_object_get(s, "type")), a->fs->name) ||
	    !rouse_streq(json_string_value(json_object_get(s, "uuid")), uuid))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "%s was written to %s, and is not there",
				  a->fs->name, t->what);
	return 0;
}

static int make(const struct disks_session *s, const struct disks_action *a,
		const struct rouse_context *c, struct rouse_err *e)
{
	auto_free char *what = a->number ? rouse_asprintf("partition %u of '%s'", a->number,
							  a->device)
					 : rouse_asprintf("'%s'", a->device);
	struct disks_target t;
	auto_fd int own = -1;
	char node[256]; /* to which t may point */

	if (open_target(s, a, &t, &own, e) < 0)
		return -1;
	t.what = what;
	t.deadline = c->deadline;
	if (!a->number && disks_table_forget(s->fd, a, e) < 0)
		return -1;
	if (disks_mark_pending(&t, e) < 0 || disks_erase(&t, e) < 0)
		return -1;
	if (!a->fs)
		return 0;
	if (a->fs->late && !a->file ? make_late(s, a, &t, &own, node, e) < 0
				    : a->fs->make(&t, e) < 0)
		return -1;
	return check_made(a, &t, e);
}

static int grow(const struct disks_action *a, const struct rouse_context *c, struct rouse_err *e)
{
	auto_fd int fd = -1;

	if (a->fs->grow_offline)
		return a->fs->grow_offline(a->source, c->deadline, e);
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

static int write_image(struct disks_state *state, const struct disks_session *s,
		       const struct disks_action *a, const struct rouse_context *c,
		       struct rouse_err *e)
{
	auto_free char *what = rouse_asprintf("partition %u of '%s'", a->number, a->device);
	auto_free struct disks_head *head = rouse_calloc(1, sizeof(*head));
	struct disks_target t;
	auto_fd int own = -1;

	if (open_target(s, a, &t, &own, e) < 0)
		return -1;
	t.what = what;
	t.deadline = c->deadline;
	if (disks_mark_pending(&t, e) < 0 || disks_erase(&t, e) < 0 ||
	    disks_image_fetch(&t, a->image, c, head, e) < 0)
		return -1;
	if (a->finishes)
		return disks_image_finish(&t, head, e);
	if (state->n_heads == ARRAY_SIZE(state->heads))
		return rouse_fail(e, ROUSE_BUG, 0, "too many images");
	(void)snprintf(state->heads[state->n_heads].device, sizeof(state->heads[0].device), "%s",
		       a->device);
	state->heads[state->n_heads].number = a->number;
	state->heads[state->n_heads++].head = take(head, NULL);
	return 0;
}

static int finish_image(const struct disks_state *state, const struct disks_session *s,
			const struct disks_action *a, struct rouse_err *e)
{
	auto_free char *what = rouse_asprintf("partition %u of '%s'", a->number, a->device);
	struct disks_target t;
	auto_fd int own = -1;

	if (open_target(s, a, &t, &own, e) < 0)
		return -1;
	t.what = what;
	for (size_t i = 0; i < state->n_heads; i++)
		if (state->heads[i].number == a->number &&
		    strcmp(state->heads[i].device, a->device) == 0)
			return disks_image_finish(&t, state->heads[i].head, e);
	return rouse_fail(e, ROUSE_BUG, 0, "there is no image for %s", what);
}

static int run_on_disk(const struct rouse_step *step, const struct rouse_context *c,
		       struct disks_state *state, struct rouse_err *e)
{
	const struct disks_action *a = step->arg;
	struct disks_session *s = NULL;
	int r;

	if (disks_open_all(state, c, e) < 0 || disks_session_of(state, a, c, &s, e) < 0 ||
	    (a->begin && write_table(s, a->begin, e) < 0))
		return -1;
	if (step->op == DISKS_OP_CLAIM)
		r = claim(s, a, e);
	else if (step->op == DISKS_OP_IMAGE)
		r = write_image(state, s, a, c, e);
	else if (step->op == DISKS_OP_FINISH_IMAGE)
		r = finish_image(state, s, a, e);
	else if (step->op == DISKS_OP_MAKE || step->op == DISKS_OP_ERASE)
		r = make(s, a, c, e);
	else if (step->op == DISKS_OP_SHOW)
		r = disks_table_publish(s->fd, a, e);
	else
		r = table(s, a, e);
	if (r == 0 && a->last) {
		disks_session_close(s);
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
	case DISKS_OP_RESEAL:
		return disks_reseal(step->arg, c->deadline, e);
	case DISKS_OP_GROW:
		return grow(step->arg, c, e);
	case DISKS_OP_ACTIVATE:
	case DISKS_OP_GROUP:
	case DISKS_OP_PHYSICAL:
	case DISKS_OP_FINISH_PHYSICAL:
	case DISKS_OP_VOLUME:
	case DISKS_OP_FINISH:
		return disks_lvm_apply(step->op, step->arg, c, e);
	case DISKS_OP_FSTAB:
		return disks_fstab_apply(step->arg, c, e);
	case DISKS_OP_UNITS:
		return disks_units_apply(step->arg, c, e);
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
	case DISKS_OP_ENCRYPT:
	case DISKS_OP_OPEN:
	case DISKS_OP_GROW_LUKS:
		return disks_crypt_apply(
			step->op, step->arg,
			disks_key_of(state, ((const struct disks_action *)step->arg)->luks), c, e);
	case DISKS_OP_VERITY:
		return disks_verity_open(step->arg, c, e);
	case DISKS_OP_ERASE:
	case DISKS_OP_CLAIM:
	case DISKS_OP_MAKE:
	case DISKS_OP_TABLE:
	case DISKS_OP_SHOW:
	case DISKS_OP_IMAGE:
	case DISKS_OP_FINISH_IMAGE:
		return run_on_disk(step, c, state, e);
	}
	return rouse_fail(e, ROUSE_BUG, 0, "unknown step %u", step->op);
}
