/* SPDX-License-Identifier: Apache-2.0 */
/* The modules, in the order in which they run. This is the only list. */
#include <rouse/module.h>

#define MODULES(X)                                                                                 \
	X(rouse_module_disks)                                                                      \
	X(rouse_module_mounts)                                                                     \
	X(rouse_module_closure)                                                                    \
	X(rouse_module_identity)                                                                   \
	X(rouse_module_users)                                                                      \
	X(rouse_module_profiles)                                                                   \
	X(rouse_module_ssh)                                                                        \
	X(rouse_module_files)                                                                      \
	X(rouse_module_units)                                                                      \
	X(rouse_module_health)                                                                     \
	X(rouse_module_handoff)

#define DECLARE(name) extern const struct rouse_module name;
MODULES(DECLARE)

#define REFER(name) &name,
const struct rouse_module *const rouse_modules[] = { MODULES(REFER) };
const size_t rouse_n_modules = ARRAY_SIZE(rouse_modules);

_Static_assert(ARRAY_SIZE(rouse_modules) <= ROUSE_MAX_MODULES, "room for every module");
