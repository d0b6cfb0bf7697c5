/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DHCP client against a real server (busybox udhcpd) over a pair of virtual cables, in
 * namespaces of its own. Needs root, ip(8) and busybox.
 */
#include "../lib/tap.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#define PATIENCE 20000

static bool run(const char *const *argv)
{
	struct rouse_proc p = { .argv = argv, .deadline = rouse_clock_ms() + 10000 };
	struct rouse_err e;

	if (rouse_proc_check(&p, &e) == 0)
		return true;
	printf("# %s\n", e.text);
	return false;
}
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

/* The other end of the cable: a child in a network of its own that has nothing yet. */
struct far {
	pid_t pid;
	int go; /* a byte: the server may begin */
};

static void far_end(struct far *f)
{
	if (f->go >= 0)
		(void)close(f->go);
	if (f->pid > 0) {
		(void)kill(f->pid, SIGKILL);
		(void)waitpid(f->pid, NULL, 0);
	}
}
#define auto_far __attribute__((cleanup(far_end)))

/* Runs udhcpd with `conf` on `name` when it is told to. */
static _Noreturn void serve(const char *name, const char *address, const char *conf, int ready,
			    int go)
{
	char file[64], byte;
	int fd;

	if (unshare(CLONE_NEWNET) < 0 || write(ready, "", 1) != 1)
		_exit(1);
	if (read(go, &byte, 1) != 1)
		_exit(1);
	(void)snprintf(file, sizeof(file), "/run/%s.conf", name);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 ||
	    dprintf(fd, "interface %s\nlease_file /run/%s.leases\n%s", name, name, conf) < 0 ||
	    close(fd) < 0 || !RUN("ip", "link", "set", "lo", "up") ||
	    !RUN("ip", "link", "set", name, "up") ||
	    !RUN("ip", "address", "add", address, "dev", name))
		_exit(1);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	(void)execlp("busybox", "busybox", "udhcpd", "-f", "-a", "100", "-I", "0.0.0.0", file,
		     NULL);
	_exit(1);
}

static struct far far_new(const char *name, const char *address, const char *conf)
{
	struct far f = { .pid = -1, .go = -1 };
	int ready[2], go[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		abort();
	(void)fflush(stdout);
	f.pid = fork();
	if (f.pid == 0) {
		(void)close(go[1]);
		serve(name, address, conf, ready[1], go[0]);
	}
	(void)close(ready[1]);
	(void)close(go[0]);
	if (read(ready[0], &byte, 1) != 1)
		abort();
	(void)close(ready[0]);
	f.go = go[1];
	return f;
}

static bool plug(const struct far *f, const char *near, const char *name)
{
	char pid[16];

	(void)snprintf(pid, sizeof(pid), "%d", (int)f->pid);
	return RUN("ip", "link", "add", near, "type", "veth", "peer", "name", name, "netns", pid);
}

static void start(struct far *f)
{
	/* A word, not the end of the pipe: children that were made later hold it open. */
	(void)!write(f->go, "", 1);
}

static char *slurp(const char *path)
{
	struct rouse_buf text = { 0 };
	struct rouse_err e;

	if (rouse_read_file(path, 1 << 20, &text, &e) < 0)
		return rouse_strdup("");
	return text.data ? text.data : rouse_strdup("");
}

/* The value of one member of network.json, "" when absent. */
static char *fact(const char *key)
{
	auto_free char *text = slurp(ROUSE_NETWORK_FILE);
	auto_json json_t *j = json_loads(text, 0, NULL);
	const json_t *v = json_object_get(j, key);

	if (json_is_integer(v))
		return rouse_asprintf("%lld", (long long)json_integer_value(v));
	return rouse_strdup(json_string_value(v) ? json_string_value(v) : "");
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
	auto_far struct far f = far_new("far0", "10.77.0.1/24", "interface none\n");
	uint64_t begin = rouse_clock_ms();
	struct rouse_err e = { 0 };
	char pid[16];

	(void)snprintf(pid, sizeof(pid), "%d", (int)f.pid);
	T_CHECK(t, plug(&f, "near0", "far0"));
	T_CHECK(t, RUN("nsenter", "-t", pid, "-n", "ip", "link", "set", "far0", "up"));
	T_CHECK(t, rouse_net_up(begin + 1500, &e) < 0 && e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, e.text, "no DHCP server answered on 'near0'");
	T_CHECK(t, rouse_clock_ms() - begin < 10000);
}

/* Each test in a child that has a network, a /run and an /etc of its own. */
static void isolate(struct t *t, void (*test)(struct t *t))
{
	int status = 0;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 ||
		    mount("tmpfs", "/etc", "tmpfs", 0, NULL) < 0 ||
		    mount("sysfs", "/sys", "sysfs", 0, NULL) < 0) {
			printf("# cannot isolate the test: %s\n", strerror(errno));
			_exit(1);
		}
		test(t);
		(void)fflush(stdout);
		_exit(t->failed ? 1 : 0);
	}
	(void)waitpid(pid, &status, 0);
	t->failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

#define ISOLATED(function)                                                                         \
	static void in_##function(struct t *t)                                                     \
	{                                                                                          \
		isolate(t, function);                                                              \
	}
ISOLATED(lease_configures_the_machine)
ISOLATED(image_gets_back_its_network)
ISOLATED(host_route_leads_to_a_gateway_outside_the_subnet)
ISOLATED(interface_without_a_server_does_not_hold_up_another)
ISOLATED(lease_that_leads_out_is_waited_for)
ISOLATED(interface_that_comes_late_is_used)
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
