/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/init.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "cloud_init.h"
#include "command.h"

static const struct rouse_command commands[] = {
	{ "boot", rouse_cmd_boot, "[--root DIR]",
	  "the boot: source, document, plan, apply, hand-off",
	  "  --root DIR         provision the system below DIR (default /)\n"
	  "  --run DIR          status and report (default /run/rouse)\n"
	  "  --settings FILE    the image's settings (default /etc/rouse/agent.json)\n"
	  "  --initrd           in somebody else's initrd: make the root, mount it at /sysroot "
	  "(or\n"
	  "                     --root DIR), and tell systemd what to start there\n"
	  "  --again            a try before this one has failed, and the machine is held\n"
	  "  --activate         switch a NixOS to the system that a boot has made current\n" },
	{ "check", rouse_cmd_check, "[DOC]", "validates a document offline; prints every error",
	  "  DOC                without it: what the boot used, with this machine's overrides\n"
	  "  --override DIR     merge the overrides of this directory, too\n"
	  "  --origin           print every value and the layer that it comes from\n"
	  "  --settings FILE    validate an image's settings (agent.json), and no document\n"
	  "  --json             the problems, or the origins, as JSON\n" },
	{ "plan", rouse_cmd_plan, "[DOC]", "prints what apply would do; changes nothing",
	  "  DOC                without it: what the boot used, with this machine's overrides\n"
	  "  --root DIR         plan for the system below DIR\n"
	  "  --disk NAME=FILE   the document's disk NAME is this image file or device; without\n"
	  "                     --root, nothing but disks is looked at or changed\n"
	  "  --facts FILE       plan for a machine whose facts were recorded\n"
	  "  --only SECTION     only what belongs to this section\n"
	  "  --draw             each disk before and after, also where nobody sits at a terminal\n"
	  "  --json             the plan, and the disks, as JSON\n" },
	{ "apply", rouse_cmd_apply, "[DOC]", "plans, prints the plan, applies it",
	  "  DOC                without it: what the boot used, with this machine's overrides\n"
	  "  --root DIR         apply to the system below DIR\n"
	  "  --disk NAME=FILE   the document's disk NAME is this image file or device; without\n"
	  "                     --root, nothing but disks is looked at or changed\n"
	  "  --only SECTION     only what belongs to this section\n"
	  "  --draw             each disk before and after, also where nobody sits at a terminal\n"
	  "  --yes              do not ask\n"
	  "  --plan ID          only if the plan is the one that 'rouse plan' printed with this "
	  "id\n"
	  "  --json             the report as JSON\n" },
	{ "edit", rouse_cmd_edit, "SECTION",
	  "overrides a section of this machine's document, in your editor",
	  "  --full             edit the whole section, not what differs\n"
	  "  --revert           remove the override: the document counts again\n"
	  "  --root DIR         the system below DIR\n" },
	{ "lock", rouse_cmd_lock, "DOC [NAME…]",
	  "finds the store paths that a hand-written document means; writes a document of pins",
	  "  --output FILE      what to write (default DOC with \".lock.json\"; \"-\": standard "
	  "output)\n"
	  "  --update[=NAME]    look for newer ones of everything, or of NAME only (\"system\", a\n"
	  "                     package, USER/PACKAGE; more may follow DOC); all else stays as it "
	  "was\n"
	  "  --manifests DIR    also write a manifest of each closure there, and pin it by its "
	  "digest\n"
	  "  --manifests-url URL  where machines will find that directory\n"
	  "  --netrc FILE       names and passwords for private caches (https), in the place of\n"
	  "                     the files that the document names\n"
	  "  --channels URL     where channels are (default https://channels.nixos.org)\n"
	  "  --timeout D        end in this time (default 10m)\n"
	  "  --json             what was found as JSON\n" },
	{ "pull", rouse_cmd_pull, "PATH[#HASH]…", "pulls closures from binary caches",
	  "  --cache URL        a binary cache; repeat in order of preference\n"
	  "  --key NAME:KEY     a key that may sign paths; repeatable\n"
	  "  --netrc FILE       names and passwords for private caches (https)\n"
	  "  --store DIR        the root that gets nix/store (default /)\n"
	  "  --from DIR         copy what DIR/nix/store has already, and fetch the rest; shares\n"
	  "                     blocks where the filesystem can\n"
	  "  --deduplicate      store files of equal content once, as nix-store --optimise does\n"
	  "  --profile FILE     make the first PATH the next generation of this profile\n"
	  "  --manifest M       the closure manifest: FILE, or URL#sha256=DIGEST\n"
	  "  --check            is the closure whole in the caches? Looks at every narinfo,\n"
	  "                     signature and archive, names all that is wrong, writes nothing\n"
	  "  --dry-run          say what would be pulled, and how large it is; pull nothing\n"
	  "  --jobs N           threads (default: as many as processors); 1 costs least memory\n"
	  "  --timeout D        end in this time (default: as long as something comes)\n"
	  "  --json             counters, and every path with size, cache and time, as JSON\n" },
	{ "manifest", rouse_cmd_manifest, "PATH[#HASH]…",
	  "writes the closure manifest of paths, from their caches",
	  "  --cache URL        a binary cache; repeat in order of preference\n"
	  "  --key NAME:KEY     a key that may sign paths; repeatable\n"
	  "  --netrc FILE       names and passwords for private caches (https)\n"
	  "  --output FILE      write it there, and print what a document says of it\n"
	  "  --timeout D        end in this time (default 3m)\n" },
	{ "generations", rouse_cmd_generations, "",
	  "the system closures here: current, booted, healthy",
	  "  --root DIR         of the system below DIR\n"
	  "  --json             the same as JSON\n" },
	{ "rollback", rouse_cmd_rollback, "[N]",
	  "makes generation N current, or the last healthy one before",
	  "  --switch           the running system becomes it, too; else the next boot does\n"
	  "  --root DIR         of the system below DIR\n" },
	{ "gc", rouse_cmd_gc, "", "deletes old generations, and what nothing in the store needs",
	  "  --keep N           keep the N newest generations (default: \"generations\" of the\n"
	  "                     document or of agent.json, else 3)\n"
	  "  --older-than D     keep those that are younger (\"30d\")\n"
	  "  --max-size S       delete older ones until the rest is this small (\"20GB\")\n"
	  "  --dry-run          say what would be deleted; delete nothing\n"
	  "  --root DIR         of the system below DIR\n"
	  "  --timeout D        end in this time (default 20m)\n"
	  "  --json             what was deleted as JSON\n"
	  "The current, the booted and the last healthy generation are always kept.\n" },
	{ "health", rouse_cmd_health, "",
	  "runs the health checks, gives the verdict, sends the signals",
	  "  --run DIR          status and report (default /run/rouse)\n"
	  "  --hold             keeps holding a machine that is not healthy, as its policy says\n"
	  "  --supervise        in a child, for whose end there is a verdict, too\n"
	  "  --json             the report as JSON\n" },
	{ "status", rouse_cmd_status, "",
	  "verdict, phase, what changed, what failed and what to do",
	  "  --wait             wait for the verdict\n"
	  "  --timeout D        … at most this long (\"90s\", \"5m\")\n"
	  "  --run DIR          status and report (default /run/rouse)\n"
	  "  --json             the status as JSON\n" },
	{ "analyze", rouse_cmd_analyze, "", "where the boot's time went",
	  "  --report FILE      a report (default /run/rouse/report.json)\n"
	  "  --all              every step, however short\n"
	  "  --svg FILE         also draw a timeline\n"
	  "  --prometheus FILE  also write metrics for node_exporter's textfile collector\n"
	  "  --json             the figures as JSON\n" },
	{ "facts", rouse_cmd_facts, "[DOC]", "what the agent sees of this machine",
	  "  --root DIR         the system below DIR\n"
	  "  --disk NAME=FILE   the document's disk NAME is this image file or device; without\n"
	  "                     --root, nothing but disks is looked at or changed\n"
	  "  --json             the default for facts that `plan --facts` reads\n" },
	{ "keygen", rouse_cmd_keygen, "NAME",
	  "makes a key pair for signing documents; prints the public key",
	  "  --output FILE      the secret key (default NAME.secret); never overwritten\n" },
	{ "sign", rouse_cmd_sign, "DOC", "signs a document: DOC.sig beside it",
	  "  --key FILE         the secret key\n" },
	{ "schema", rouse_cmd_schema, "", "the JSON Schema of the document, for editors",
	  "  --settings         of the image's settings (agent.json)\n"
	  "  --man              the same as a man page section\n"
	  "  --dictionary       the same as a dictionary for fuzzers\n" },
};

static void print_help(void)
{
	(void)printf("usage: rouse COMMAND [OPTIONS] [ARGS]\n\n"
		     "Provisions this machine from a document: disks, a Nix closure, users, files, "
		     "health.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)printf("  %-11s %s\n", commands[i].name, commands[i].help);
	(void)printf("\n`rouse COMMAND --help` lists its options. Exit status: 0 ok, 3 degraded, "
		     "64 usage,\n"
		     "70 bug, 71 system, 75 unavailable, 77 untrusted, 78 document.\n");
}

static void print_command_help(const struct rouse_command *c)
{
	(void)printf("usage: rouse %s [OPTIONS]%s%s\n\n%s\n\n%s", c->name, *c->args ? " " : "",
		     c->args, c->help, c->options ? c->options : "");
}

static bool has(int argc, char **argv, const char *option)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], option) == 0)
			return true;
	return false;
}

static void print_version(void)
{
	(void)printf("rouse %s\n", ROUSE_VERSION);
}

static const char *command_name_at(const void *ctx, size_t i)
{
	return ((const struct rouse_command *)ctx)[i].name;
}

static int run_command(int argc, char **argv, struct rouse_err *e)
{
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (has(argc - 1, argv + 1, "--help") || has(argc - 1, argv + 1, "-h")) {
			print_command_help(&commands[i]);
			return 0;
		}
		if (has(argc - 1, argv + 1, "--version")) {
			print_version();
			return 0;
		}
		opterr = 0; /* the commands name what they do not know */
		return commands[i].run(argc - 1, argv + 1, e);
	}
	near = rouse_nearest(argv[1], ARRAY_SIZE(commands), command_name_at, commands);
	if (near)
		return rouse_usage(e, "unknown command '%s', did you mean '%s'?", argv[1], near);
	return rouse_usage(e, "unknown command '%s'; `rouse --help` lists them", argv[1]);
}

static bool is_called(const char *name, const char *wanted)
{
	const char *slash = strrchr(name, '/');

	return rouse_streq(slash ? slash + 1 : name, wanted);
}

int main(int argc, char **argv)
{
	struct rouse_err e = { 0 };

	(void)umask(022);
	(void)signal(SIGPIPE, SIG_IGN);
	/* In a container any command may be process 1. */
	if (getpid() == 1 && is_called(argv[0], "init"))
		return rouse_init_main(argc, argv);
	/* For those who wait for another program: a package of its own has these names. */
	if (is_called(argv[0], "cloud-init"))
		return cloud_init_main(argc, argv);
	if (is_called(argv[0], "cloud-id"))
		return cloud_id_main(argc, argv);
	if (argc < 2) {
		print_help();
		return ROUSE_USAGE;
	}
	if (argc > 2 && strcmp(argv[1], "help") == 0) { /* "help COMMAND" is "COMMAND --help" */
		static char help[] = "--help";

		argv[1] = argv[2];
		argv[2] = help;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help();
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		print_version();
		return 0;
	}
	if (run_command(argc, argv, &e) < 0) {
		bool of_option = e.kind == ROUSE_USAGE && strstr(e.text, "option '");

		/* A kind without a text has been explained already, as `rouse check` does. */
		if (of_option)
			(void)fprintf(stderr, "rouse: %s: %s; `rouse %s --help` lists them\n",
				      argv[1], e.text, argv[1]);
		else if (e.text[0])
			(void)fprintf(stderr, "rouse: %s: %s\n", argv[1], e.text);
		return (int)e.kind;
	}
	errno = 0;
	/* What is larger than its buffer failed before, and left nothing to write now. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		(void)fprintf(stderr, "rouse: %s: cannot write the output: %s\n", argv[1],
			      errno ? strerror(errno) : "it is not complete");
		return ROUSE_SYSTEM;
	}
	return 0;
}
