/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DHCP client against a real server (busybox udhcpd) over a pair of virtual cables, in
 * namespaces of its own. Needs root, ip(8) and busybox.
 */
#include "../lib/netns.h"

#include <rouse/netconf.h>

#define PATIENCE 20000

struct dhcp_server {
	const char *name, *address, *conf;
};

/* Runs udhcpd with `conf` on `name`. */
static void serve(const void *arg)
{
	const struct dhcp_server *s = arg;
	char file[64];
	int fd;

	(void)snprintf(file, sizeof(file), "/run/%s.conf", s->name);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 ||
	    dprintf(fd, "interface %s\nlease_file /run/%s.leases\n%s", s->name, s->name, s->conf) <
		    0 ||
	    close(fd) < 0 || !RUN("ip", "link", "set", "lo", "up") ||
	    !RUN("ip", "link", "set", s->name, "up") ||
	    !RUN("ip", "address", "add", s->address, "dev", s->name))
		_exit(1);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	(void)execlp("busybox", "busybox", "udhcpd", "-f", "-a", "100", "-I", "0.0.0.0", file,
		     NULL);
}

static struct far far_new(const char *name, const char *address, const char *conf)
{
	struct dhcp_server s = { name, address, conf };

	return far_with(serve, &s);
}

#define USUAL                                                                                      \
	"start 10.77.0.20\nend 10.77.0.30\nmax_leases 5\nopt subnet 255.255.255.0\n"               \
	"opt router 10.77.0.1\nopt dns 10.77.0.2 10.77.0.3\nopt domain test.example\nopt lease "   \
	"600\n"

static void lease_configures_the_machine(struct t *t)
{
	auto_far struct far f = far_new("far0", "10.77.0.1/24", USUAL "opt mtu 1400\n");
	auto_free char *resolv = NULL, *route = NULL, *address = NULL, *mtu = NULL;
	struct rouse_err e = { 0 };
	char line[16] = "";

	T_CHECK(t, plug(&f, "near0", "far0"));
	start(&f);
	if (rouse_net_up(rouse_clock_ms() + PATIENCE, &e) < 0)
		printf("# %s\n", e.text);
	T_STR(t, e.text, "");
	resolv = slurp("/etc/resolv.conf");
	T_STR(t, resolv, "search test.example\nnameserver 10.77.0.2\nnameserver 10.77.0.3\n");
	route = slurp("/proc/net/route");
	T_HAS(t, route, "near0\t00000000\t01004D0A"); /* 10.77.0.1 */
	address = fact("address");
	T_HAS(t, address, "10.77.0.");
	T_HAS(t, address, "/24");
	mtu = fact("mtu");
	T_STR(t, mtu, "1400");
	T_CHECK(t, rouse_read_line("/sys/class/net/near0/mtu", line, sizeof(line)));
	T_STR(t, line, "1400");
	T_CHECK(t, RUN("busybox", "ping", "-c", "1", "-W", "5", "10.77.0.1"));
	/* A second call finds the route and changes nothing. */
	T_CHECK(t, rouse_net_up(rouse_clock_ms() + 1, &e) == 0);
}

static void image_gets_back_its_network(struct t *t)
{
	static const char own[] = "nameserver 192.0.2.1\n";
	auto_far struct far f = far_new("far0", "10.77.0.1/24", USUAL);
	auto_free char *resolv = NULL, *later = NULL, *route = NULL;
	auto_fd int fd = open("/etc/resolv.conf", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	struct rouse_err e = { 0 };

	T_CHECK(t, write(fd, own, strlen(own)) == (ssize_t)strlen(own));
	T_CHECK(t, plug(&f, "near0", "far0"));
	start(&f);
	T_CHECK(t, rouse_net_up(rouse_clock_ms() + PATIENCE, &e) == 0);
	resolv = slurp("/etc/resolv.conf");
	T_HAS(t, resolv, "nameserver 10.77.0.2\n");
	rouse_net_down();
	later = slurp("/etc/resolv.conf");
	T_STR(t, later, own);
	route = slurp("/proc/net/route");
	T_CHECK(t, !strstr(route, "near0"));
	T_CHECK(t, RUN("sh", "-c", "! ip -4 address show dev near0 | grep inet"));
}

static void host_route_leads_to_a_gateway_outside_the_subnet(struct t *t)
{
	auto_far struct far f = far_new(
		"far0", "10.132.0.1/32",
		"start 10.132.0.5\nend 10.132.0.5\nmax_leases 1\nopt subnet 255.255.255.255\n"
		"opt router 10.9.9.9\nopt staticroutes 10.132.0.1/32 0.0.0.0, 0.0.0.0/0 "
		"10.132.0.1\n");
	auto_free char *route = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, plug(&f, "near0", "far0"));
	start(&f);
	(void)!rouse_net_up(rouse_clock_ms() + PATIENCE, &e);
	T_STR(t, e.text, "");
	route = slurp("/proc/net/route");
	T_HAS(t, route,
	      "near0\t00000000\t0100840A"); /* the default by 10.132.0.1, not by 10.9.9.9 */
	T_HAS(t, route, "near0\t0100840A\t00000000"); /* … which is on the link */
}

static void interface_without_a_server_does_not_hold_up_another(struct t *t)
{
	auto_far struct far silent = far_new("far0", "10.1.0.1/24", ""),
			    f = far_new("far1", "10.77.0.1/24", USUAL);
	auto_free char *interface = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, plug(&silent, "near0", "far0") && plug(&f, "near1", "far1"));
	start(&f);
	(void)!rouse_net_up(rouse_clock_ms() + PATIENCE, &e);
	T_STR(t, e.text, "");
	interface = fact("interface");
	T_STR(t, interface, "near1");
}

static void lease_that_leads_out_is_waited_for(struct t *t)
{
	auto_far struct far inner = far_new(
				    "far0", "10.1.0.1/24",
				    "start 10.1.0.5\nend 10.1.0.9\nopt subnet 255.255.255.0\n"),
			    f = far_new("far1", "10.77.0.1/24", USUAL);
	auto_free char *interface = NULL, *route = NULL;
	struct rouse_err e = { 0 };
	pid_t pid;

	T_CHECK(t, plug(&inner, "near0", "far0") && plug(&f, "near1", "far1"));
	start(&inner);
	pid = fork();
	if (pid == 0) {
		/* The way out appears when the inner network has been there for a moment. */
		uint64_t limit = rouse_clock_ms() + PATIENCE;

		for (auto_free char *seen = NULL; rouse_clock_left(limit); free(take(seen, NULL))) {
			seen = slurp("/proc/net/route");
			if (strstr(seen, "near0"))
				break;
			rouse_clock_sleep_until(rouse_clock_ms() + 20);
		}
		start(&f);
		_exit(0);
	}
	(void)close(take(f.go, -1));
	(void)!rouse_net_up(rouse_clock_ms() + PATIENCE, &e);
	(void)waitpid(pid, NULL, 0);
	T_STR(t, e.text, "");
	interface = fact("interface");
	T_STR(t, interface, "near1");
	route = slurp("/proc/net/route");
	T_HAS(t, route, "near1\t00000000\t01004D0A");
	T_HAS(t, route, "near0\t0000010A\t00000000"); /* the inner network is there as well */
}

static void interface_that_comes_late_is_used(struct t *t)
{
	auto_far struct far f = far_new("far0", "10.77.0.1/24", USUAL);
	struct rouse_err e = { 0 };
	pid_t pid = fork();

	if (pid == 0) {
		rouse_clock_sleep_until(rouse_clock_ms() + 300);
		_exit(plug(&f, "near0", "far0") ? (start(&f), 0) : 1);
	}
	(void)close(take(f.go, -1));
	(void)!rouse_net_up(rouse_clock_ms() + PATIENCE, &e);
	(void)waitpid(pid, NULL, 0);
	T_STR(t, e.text, "");
}

static bool write_down(const char *text)
{
	auto_file FILE *f = NULL;

	(void)mkdir("/run/rouse", 0755);
	f = fopen(ROUSE_NETCONF_FILE, "we");
	return f && fputs(text, f) >= 0;
}

static void network_that_was_written_down_asks_nobody(struct t *t)
{
	auto_far struct far f = far_with(NULL, NULL);
	auto_free char *route = NULL, *six = NULL, *resolv = NULL, *later = NULL;
	struct rouse_err e = { 0 };
	uint64_t begin;

	T_CHECK(t, write_down("version: 2\nethernets:\n  near0:\n"
			      "    addresses: [10.77.0.9/24, 2001:db8:7::9/64]\n"
			      "    routes: [{to: default, via: 10.77.0.1}, {to: ::/0, via: "
			      "2001:db8:7::1}]\n"
			      "    nameservers: {addresses: [10.77.0.53], search: [test.example]}\n"
			      "    mtu: 1400\n"));
	T_CHECK(t, plug(&f, "near0", "far0") && lift(&f, "far0"));
	begin = rouse_clock_ms();
	(void)!rouse_net_up(begin + PATIENCE, &e);
	T_STR(t, e.text, "");
	T_CHECK(t, rouse_clock_ms() - begin < PATIENCE);
	route = slurp("/proc/net/route");
	T_HAS(t, route, "near0\t00000000\t01004D0A");
	six = slurp("/proc/net/ipv6_route");
	T_HAS(t, six, "20010db8000700000000000000000001");
	resolv = slurp("/etc/resolv.conf");
	T_STR(t, resolv, "search test.example\nnameserver 10.77.0.53\n");
	rouse_net_down();
	later = slurp("/proc/net/route");
	T_CHECK(t, !strstr(later, "near0"));
	T_CHECK(t, RUN("sh", "-c",
		       "! ip address show dev near0 | grep -e 10.77.0.9 -e 2001:db8:7::9"));
}

static void malformed_network_is_refused_before_anything(struct t *t)
{
	struct rouse_err e = { 0 };

	T_CHECK(t, write_down("version: 2\nethernets: {near0: {addresses: [x]}}\n"));
	T_CHECK(t, rouse_net_up(rouse_clock_ms() + PATIENCE, &e) < 0 && e.kind == ROUSE_DOCUMENT);
	T_HAS(t, e.text, "network-config: an address is none");
}

static void machine_without_a_card_says_so(struct t *t)
{
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_net_up(rouse_clock_ms() + 100, &e) < 0 && e.kind == ROUSE_SYSTEM);
	T_HAS(t, e.text, "no network interface");
}

static void cable_without_a_link_is_this_machines_fault(struct t *t)
{
	auto_far struct far f = far_new("far0", "10.77.0.1/24", USUAL);
	struct rouse_err e = { 0 };

	T_CHECK(t, plug(&f, "near0", "far0"));
	T_CHECK(t, rouse_net_up(rouse_clock_ms() + 200, &e) < 0 && e.kind == ROUSE_SYSTEM);
	T_HAS(t, e.text, "no link on 'near0'");
}

static void silence_is_unavailable_and_bounded(struct t *t)
{
	auto_far struct far f = far_with(NULL, NULL);
	struct rouse_err e = { 0 };
	uint64_t begin;

	T_CHECK(t, plug(&f, "near0", "far0") && lift(&f, "far0"));
	begin = rouse_clock_ms();
	T_CHECK(t, rouse_net_up(begin + 1500, &e) < 0 && e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, e.text, "no DHCP server answered on 'near0'");
	T_CHECK(t, rouse_clock_ms() - begin < 25000); /* a lease has 60 s */
}

ISOLATED(lease_configures_the_machine)
ISOLATED(image_gets_back_its_network)
ISOLATED(host_route_leads_to_a_gateway_outside_the_subnet)
ISOLATED(interface_without_a_server_does_not_hold_up_another)
ISOLATED(lease_that_leads_out_is_waited_for)
ISOLATED(interface_that_comes_late_is_used)
ISOLATED(network_that_was_written_down_asks_nobody)
ISOLATED(malformed_network_is_refused_before_anything)
ISOLATED(machine_without_a_card_says_so)
ISOLATED(cable_without_a_link_is_this_machines_fault)
ISOLATED(silence_is_unavailable_and_bounded)

int main(void)
{
	static const struct t_test tests[] = {
		T(in_lease_configures_the_machine),
		T(in_image_gets_back_its_network),
		T(in_host_route_leads_to_a_gateway_outside_the_subnet),
		T(in_interface_without_a_server_does_not_hold_up_another),
		T(in_lease_that_leads_out_is_waited_for),
		T(in_interface_that_comes_late_is_used),
		T(in_network_that_was_written_down_asks_nobody),
		T(in_malformed_network_is_refused_before_anything),
		T(in_machine_without_a_card_says_so),
		T(in_cable_without_a_link_is_this_machines_fault),
		T(in_silence_is_unavailable_and_bounded),
	};
	char path[256];

	if (geteuid() != 0 || !rouse_proc_find("ip", NULL, path, sizeof(path)) ||
	    !rouse_proc_find("busybox", NULL, path, sizeof(path))) {
		printf("1..0 # SKIP needs root, ip and busybox\n");
		return 0;
	}
	return t_run(tests, ARRAY_SIZE(tests));
}
