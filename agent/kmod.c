/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/init.h>

#include <errno.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include <libkmod.h>

#include <rouse/fs.h>
#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/text.h>

static void ctx_release(struct kmod_ctx *c)
{
	kmod_unref(c);
}
AUTO_DEFINE(struct kmod_ctx *, ctx, ctx_release, NULL)

static void modules_release(struct kmod_list *l)
{
	kmod_module_unref_list(l);
}
AUTO_DEFINE(struct kmod_list *, modules, modules_release, NULL)

/* libkmod's own words would be a second, less exact report of what is returned. */
static void be_quiet(unused_arg void *data, unused_arg int priority, unused_arg const char *file,
		     unused_arg int line, unused_arg const char *fn, unused_arg const char *format,
		     unused_arg va_list args)
{
}

static struct kmod_ctx *open_ctx(void)
{
	struct kmod_ctx *c = kmod_new(NULL, NULL);

	if (!c)
		return NULL;
	kmod_set_log_fn(c, be_quiet, NULL);
	(void)kmod_load_resources(c); /* only makes look-ups faster */
	return c;
}

/* Inserts all modules of the list; 0, or the negative errno of the first failure. *loaded counts
 * those that were not there before. */
static int insert_all(struct kmod_list *list, size_t *loaded)
{
	struct kmod_list *i;
	int first = 0;

	kmod_list_foreach(i, list)
	{
		struct kmod_module *m = kmod_module_get_module(i);
		int state = kmod_module_get_initstate(m), r = 0;

		if (state != KMOD_MODULE_LIVE && state != KMOD_MODULE_BUILTIN) {
			r = kmod_module_probe_insert_module(m, KMOD_PROBE_IGNORE_COMMAND, NULL,
							    NULL, NULL, NULL);
			*loaded += r >= 0;
		}
		if (r < 0 && r != -EEXIST && !first)
			first = r;
		kmod_module_unref(m);
	}
	return first;
}

/* A module shows up here when it is loaded, and most that are built in do too. */
static bool is_there(const char *name)
{
	auto_free char *path = rouse_asprintf("/sys/module/%s", name);

	for (char *p = path + strlen("/sys/module/"); *p; p++)
		if (*p == '-')
			*p = '_';
	return access(path, F_OK) == 0;
}

/* Opens *c when it has to. */
static int load(struct kmod_ctx **c, const char *name, struct rouse_err *e)
{
	auto_of(modules) struct kmod_list *list = NULL;
	size_t loaded = 0;
	int r;

	if (is_there(name))
		return 0;
	if (!*c && !(*c = open_ctx()))
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM,
				  "cannot read the list of kernel modules");
	r = kmod_module_new_from_lookup(*c, name, &list);
	if (r < 0 || !list)
		return rouse_fail(e, ROUSE_SYSTEM, r < 0 ? -r : ENOENT,
				  "this kernel has no module '%s'", name);
	r = insert_all(list, &loaded);
	if (r < 0)
		return rouse_fail(e, ROUSE_SYSTEM, -r, "cannot load the kernel module '%s'", name);
	return 0;
}

int rouse_kmod_load(const char *name, struct rouse_err *e)
{
	auto_of(ctx) struct kmod_ctx *c = NULL;

	return load(&c, name, e);
}

int rouse_kmod_load_all(const char *const *names, struct rouse_err *e)
{
	auto_of(ctx) struct kmod_ctx *c = NULL;

	for (; *names; names++)
		if (load(&c, *names, e) < 0 && e->sys != ENOENT && e->sys != ENODEV)
			return -1;
	return 0;
}

/* Loads what the driver of one device, named by its modalias, is. */
static void plug(struct kmod_ctx *c, const char *alias, size_t *loaded)
{
	auto_of(modules) struct kmod_list *list = NULL;
	int r;

	if (kmod_module_new_from_lookup(c, alias, &list) < 0 || !list)
		return;
	r = insert_all(list, loaded);
	/* ENODEV: the module looked at the device and does not want it. */
	if (r < 0 && r != -ENODEV)
		rouse_log(ROUSE_LOG_WARNING, "kmod", "cannot load a module for '%s': %s, ignoring",
			  alias, strerror(-r));
}

/* Loads for all devices that the kernel shows at this moment. */
static size_t plug_all(struct kmod_ctx *c)
{
	size_t loaded = 0;
	glob_t g = { 0 };

	/* Each device that can have a driver is on a bus; walking the whole tree takes ten times as
	 * long. */
	if (glob("/sys/bus/*/devices/*/modalias", GLOB_NOSORT, NULL, &g) == 0)
		for (size_t i = 0; i < g.gl_pathc; i++) {
			char alias[1024];

			if (rouse_read_line(g.gl_pathv[i], alias, sizeof(alias)) && *alias)
				plug(c, alias, &loaded);
		}
	globfree(&g);
	return loaded;
}

size_t rouse_kmod_coldplug(void)
{
	auto_of(ctx) struct kmod_ctx *c = open_ctx();
	size_t all = 0, n;

	if (!c)
		return 0;
	/* A bus driver brings new devices: virtio-pci, then virtio-blk. Eight levels are plenty. */
	for (int level = 0; level < 8; level++) {
		n = plug_all(c);
		all += n;
		if (!n)
			break;
	}
	return all;
}
