/* SPDX-License-Identifier: Apache-2.0 */
#include "edit.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/text.h>

#define MARKER                                                                                     \
	"// ---- The document without this override; what is below this line is not read ----"

static const char header[] =
	"// The override of \"%s\", kept in %s.\n"
	"// It is merged over the document: objects are merged key by key, any other value "
	"replaces\n"
	"// the document's, null removes it. An empty text removes the override.\n"
	"// Lines that begin with // or # are not kept.\n\n";
static const char header_full[] =
	"// All of \"%s\". What you change is kept, as an override, in %s;\n"
	"// the document stays as it is. An empty text removes the override.\n"
	"// Lines that begin with // or # are not kept.\n\n";

char *rouse_edit_offer(const char *section, const char *path, bool full, const char *text,
		       const json_t *below)
{
	auto_buf struct rouse_buf out = { 0 };
	auto_json json_t *own = json_object();
	json_t *value = json_object_get(below, section);
	auto_free char *shown = NULL;
	char *next = NULL;

	/* Two formats, not one chosen by a condition: the compiler checks both. */
	if (full)
		rouse_buf_printf(&out, header_full, section, path);
	else
		rouse_buf_printf(&out, header, section, path);
	rouse_buf_printf(&out, "%s\n" MARKER "\n", text);
	if (!value) {
		rouse_buf_printf(&out, "// The document says nothing about \"%s\".\n", section);
		return take(out.data, NULL);
	}
	rouse_json_set(own, section, json_incref(value));
	shown = rouse_json_print(own);
	for (char *line = strtok_r(shown, "\n", &next); line; line = strtok_r(NULL, "\n", &next))
		rouse_buf_printf(&out, "// %s\n", line);
	return take(out.data, NULL);
}

static bool is_comment(const char *line, size_t len)
{
	size_t blank = 0;

	while (blank < len && (line[blank] == ' ' || line[blank] == '\t'))
		blank++;
	return (blank < len && line[blank] == '#') ||
	       (blank + 1 < len && line[blank] == '/' && line[blank + 1] == '/');
}

void rouse_edit_strip(struct rouse_buf *text)
{
	char *line = text->data, *end = text->data + text->len;

	while (line && line < end) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t len = (size_t)((newline ? newline : end) - line);

		if (len >= sizeof(MARKER) - 1 && memcmp(line, MARKER, sizeof(MARKER) - 1) == 0) {
			text->len = (size_t)(line - text->data);
			text->data[text->len] = '\0';
			return;
		}
		if (is_comment(line, len)) /* no string of JSON goes over the end of a line */
			memset(line, ' ', len);
		line = newline ? newline + 1 : end;
	}
}

bool rouse_edit_is_blank(const struct rouse_buf *text)
{
	return !text->data || strspn(text->data, " \t\r\n") == text->len;
}

json_t *rouse_edit_patch(const char *section, const json_t *below, const json_t *whole)
{
	auto_json json_t *old = json_object(), *new = json_object();
	json_t *value = json_object_get(below, section);

	if (value)
		rouse_json_set(old, section, json_incref(value));
	rouse_json_merge(&new, whole); /* without nulls: they mean absent */
	return rouse_json_diff(old, new);
}

bool rouse_edit_is_empty(const char *section, const json_t *below, const json_t *patch)
{
	const json_t *value = json_object_get(patch, section);

	return json_object_size(patch) == 0 ||
	       (json_is_object(value) && json_object_size(value) == 0 &&
		json_object_size(patch) == 1 && json_is_object(json_object_get(below, section)));
}

/* EDITOR="vim -n" is a program and its arguments; nothing else of a shell is meant there. */
static size_t split(char *words, const char **argv, size_t max)
{
	char *next = NULL;
	size_t n = 0;

	for (char *w = strtok_r(words, " \t", &next); w && n < max;
	     w = strtok_r(NULL, " \t", &next))
		argv[n++] = w;
	return n;
}

static _Noreturn void become(const char *const *editors, const char *path)
{
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
	for (size_t i = 0; editors[i]; i++) {
		auto_free char *words = rouse_strdup(editors[i]);
		const char *argv[34] = { 0 };
		size_t n = split(words, argv, ARRAY_SIZE(argv) - 2);

		argv[n] = path;
		(void)execvp(argv[0], (char *const *)argv);
		if (errno != ENOENT)
			break;
	}
	_exit(127);
}

static bool is_set(const char *s)
{
	return s && s[strspn(s, " \t")];
}

int rouse_edit_run(const char *path, struct rouse_err *e)
{
	static const char *const usual[] = { "editor", "nano", "vi", NULL };
	const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR");
	const char *chosen[] = { is_set(visual) ? visual : editor, NULL };
	bool choice = is_set(chosen[0]);
	int status = 0;
	pid_t pid;

	if (!choice && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))
		return rouse_fail(e, ROUSE_USAGE, 0,
				  "no terminal to edit on, and neither VISUAL nor EDITOR is set");
	(void)fflush(NULL);
	/* Ctrl-C is for the editor; the text must survive it. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGQUIT, SIG_IGN);
	pid = fork();
	if (pid == 0)
		become(choice ? chosen : usual, path);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
	if (pid < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot start an editor");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "cannot run the editor '%s': set VISUAL or EDITOR to one",
				  choice ? chosen[0] : "vi");
	return rouse_fail(e, ROUSE_SYSTEM, 0, "the editor ended with %s %d",
			  WIFSIGNALED(status) ? "signal" : "status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}
