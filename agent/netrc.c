/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/netrc.h>

#include <string.h>
#include <strings.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>

void rouse_secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* The next word; NULL at the end. Quotes have no meaning, as in the first netrc. */
static char *next_value(char **text)
{
	char *word = *text + strspn(*text, " \t\r\n"), *end;

	if (!*word)
		return NULL;
	end = word + strcspn(word, " \t\r\n");
	*text = *end ? end + 1 : end;
	*end = '\0';
	return word;
}

/* … which is no comment: only where a value is due may a word begin with '#'. */
static char *next_word(char **text)
{
	char *word = *text + strspn(*text, " \t\r\n");

	while (*word == '#') { /* to the end of the line */
		word += strcspn(word, "\n");
		word += strspn(word, " \t\r\n");
	}
	*text = word;
	return next_value(text);
}

/* A macro ends at an empty line. */
static void skip_macro(char **text)
{
	char *end = strstr(*text, "\n\n");

	*text = end ? end : *text + strlen(*text);
}

/* The host of an https URL within it; its length, or 0. */
static size_t host_of(const char *url, const char **ret)
{
	const char *host = rouse_strip_prefix(url, "https://");

	*ret = host;
	if (!host)
		return 0;
	return *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
}

struct entry {
	const char *login, *password;
};

static bool find_entry(char *text, const char *host, size_t len, struct entry *ret)
{
	bool ours = false, found = false;

	for (char *word; (word = next_word(&text));) {
		bool is_machine = strcmp(word, "machine") == 0;
		char *value;

		if (strcmp(word, "macdef") == 0) {
			skip_macro(&text);
			continue;
		}
		if (is_machine || strcmp(word, "default") == 0) {
			if (found)
				return true;
			value = is_machine ? next_value(&text) : NULL;
			ours = !is_machine || (value && strlen(value) == len &&
					       strncasecmp(value, host, len) == 0);
			*ret = (struct entry){ 0 };
			continue;
		}
		value = next_value(&text);
		if (!ours || !value)
			continue;
		if (strcmp(word, "login") == 0)
			ret->login = value;
		else if (strcmp(word, "password") == 0)
			ret->password = value;
		found = ret->password != NULL;
	}
	return found;
}

char *rouse_netrc_header(char *text, const char *url)
{
	const char *host;
	size_t len = host_of(url, &host);
	struct entry entry = { 0 };
	char *pair, *encoded, *ret;

	if (!len || !find_entry(text, host, len, &entry))
		return NULL;
	pair = rouse_asprintf("%s:%s", entry.login ? entry.login : "", entry.password);
	encoded = rouse_base64((const uint8_t *)pair, strlen(pair));
	ret = rouse_asprintf("Authorization: Basic %s", encoded);
	rouse_secret_free(pair);
	rouse_secret_free(encoded);
	return ret;
}

int rouse_bearer_header(char **ret, const char *token, struct rouse_err *e)
{
	size_t n = strlen(token);

	/* RFC 6750 section 2.1; what is a line of its own would be another header. */
	for (size_t i = 0; i < n; i++)
		if (token[i] <= ' ' || token[i] > '~')
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "a token is printable ASCII without blanks");
	if (!n)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "a token is empty");
	*ret = rouse_asprintf("Authorization: Bearer %s", token);
	return 0;
}

int rouse_netrc_read(char **ret, const char *path, const char *url, struct rouse_err *e)
{
	struct rouse_buf text = { 0 };
	int r = rouse_read_file(path, ROUSE_MAX_NETRC, &text, e);

	*ret = NULL;
	if (r == 0 && text.data)
		*ret = rouse_netrc_header(text.data, url);
	if (text.data)
		explicit_bzero(text.data, text.size);
	rouse_buf_done(&text);
	return r;
}
