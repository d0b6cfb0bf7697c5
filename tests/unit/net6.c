/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network that has nothing but IPv6, over a cable between namespaces: addresses of a prefix or from
 * DHCPv6, resolvers from either, and the metadata service of EC2 at its IPv6 address alone.
 */
#include "../lib/netns.h"

#include <sys/prctl.h>

#include <rouse/fetch.h>
#include <rouse/imds.h>
#include <rouse/limits.h>

#define PATIENCE 30000 /* ms; a held-up server answers within it */

struct router {
	const char *options[8]; /* of router6.py */
};

/* Ends with its parent, which is the router. */
static void serve_metadata(void)
{
	if (fork() != 0)
		return;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
	(void)execlp("python3", "python3", "tests/cloud/imds.py", "--detached", "--bind",
		     "fd00:ec2::254", "--port", "80", NULL);
	_exit(1);
}

/* The far end: the address of the metadata service, a server on it, and a router. */
static void serve(const void *arg)
{
	const struct router *r = arg;
	const char *argv[16] = { "python3", "tests/cloud/router6.py", "far0" };
	size_t n = 3;

	if (!RUN("ip", "link", "set", "lo", "up") ||
	    !RUN("ip", "link", "set", "far0", "address", "02:00:00:00:00:01") ||
	    !RUN("ip", "link", "set", "far0", "up") ||
	    !RUN("ip", "address", "add", "2001:db8:7::1/64", "dev", "far0", "nodad") ||
	    !RUN("ip", "address", "add", "fd00:ec2::254/128", "dev", "far0", "nodad"))
		_exit(1);
	serve_metadata();
	(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
	for (size_t i = 0; i < ARRAY_SIZE(r->options) && r->options[i]; i++)
		argv[n++] = r->options[i];
	(void)execvp("python3", (char *const *)argv);
}

static bool begin(struct far *f, const struct router *r)
{
	*f = far_with(serve, r);
	if (!plug(f, "near0", "far0"))
		return false;
	start(f);
	return true;
}

/* The metadata service is asked as the agent does it. */
static int ask(char *buf, size_t size, struct rouse_err *e)
{
	auto_fetcher struct rouse_fetcher *f = rouse_fetcher_new();
	struct rouse_imds i = { .f = f, .deadline = rouse_clock_ms() + PATIENCE };
	auto_buf struct rouse_buf body = { 0 };
	int r = rouse_imds_get(&i, "meta-data/instance-id", ROUSE_MAX_METADATA, &body, e);

	(void)snprintf(buf, size, "%s", body.data ? body.data : "");
	rouse_imds_done(&i);
	return r;
}

static void check_network(struct t *t, const struct router *r, const char *address)
{
	auto_far struct far f = { .pid = -1, .go = -1 };
	auto_free char *resolv = NULL, *given = NULL, *interface = NULL;
	struct rouse_err e = { 0 };
	char id[64];

	T_CHECK(t, begin(&f, r));
	(void)!rouse_net_up(rouse_clock_ms() + PATIENCE, &e);
	T_STR(t, e.text, "");
	interface = fact("interface");
	T_STR(t, interface, "near0");
	given = fact("address6");
	T_STR(t, given, address);
	resolv = slurp("/etc/resolv.conf");
	T_STR(t, resolv, "search test.example\nnameserver 2001:db8:7::53\n");
	(void)!ask(id, sizeof(id), &e);
	T_STR(t, e.text, "");
	T_STR(t, id, "i-0abc123def4567890");
}

static void an_address_of_a_prefix_reaches_the_metadata_service(struct t *t)
{
	static const struct router r = { { "--prefix", "2001:db8:7::", "--resolver",
					   "2001:db8:7::53" } };

	check_network(t, &r, "");
}

static void an_address_of_dhcpv6_reaches_the_metadata_service(struct t *t)
{
	static const struct router r = { { "--managed", "2001:db8:7::77", "--resolver",
					   "2001:db8:7::53", "--lose", "1" } };

	check_network(t, &r, "2001:db8:7::77");
	if (t->failed)
		return;
	rouse_net_down();
	T_CHECK(t, RUN("sh", "-c", "! ip -6 address show dev near0 | grep 2001:db8:7::77"));
}

static void a_network_without_a_router_is_unavailable_and_bounded(struct t *t)
{
	auto_far struct far f = far_with(NULL, NULL);
	struct rouse_err e = { 0 };
	uint64_t start_time;

	T_CHECK(t, plug(&f, "near0", "far0") && lift(&f, "far0"));
	start_time = rouse_clock_ms();
	T_CHECK(t, rouse_net_up(start_time + 3000, &e) < 0 && e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, e.text, "no router for IPv6");
	T_CHECK(t, rouse_clock_ms() - start_time < 25000); /* a lease has 60 s */
}

ISOLATED(an_address_of_a_prefix_reaches_the_metadata_service)
ISOLATED(an_address_of_dhcpv6_reaches_the_metadata_service)
ISOLATED(a_network_without_a_router_is_unavailable_and_bounded)

int main(void)
{
	static const struct t_test tests[] = {
		T(in_an_address_of_a_prefix_reaches_the_metadata_service),
		T(in_an_address_of_dhcpv6_reaches_the_metadata_service),
		T(in_a_network_without_a_router_is_unavailable_and_bounded),
	};
	char path[256];

	if (geteuid() != 0 || !rouse_proc_find("ip", NULL, path, sizeof(path)) ||
	    access("/proc/net/if_inet6", F_OK) < 0) {
		printf("1..0 # SKIP needs root, ip and IPv6\n");
		return 0;
	}
	return t_run(tests, ARRAY_SIZE(tests));
}
