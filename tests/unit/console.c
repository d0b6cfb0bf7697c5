/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/sshkey.h>
#include <rouse/text.h>

#include "../../modules/health/console.h"
#include "../lib/run.h"
#include "../lib/tap.h"

/* Public keys, and what ssh-keygen 9.2 -l prints of each. */
static const struct {
	const char *file, *key, *print;
} keys[] = {
	{ "/ssh_host_ecdsa521_key.pub",
	  "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAH6c/U3"
	  "5RwBOIs6VKeSq3Qj36r8A8IzAbeE72vmwHixvogStzuCFo/EMGa130yFjjjlz1VZHXAVUh1datMxvOKP"
	  "lgFZ63y7xOC8h4JBTiKj5oEYxU+PhwStTTcY5eQ5B4YQwd6Lm7VPcGesKFFrWcIhqUIdnnX4OhlLXa1N"
	  "x/+qNplLUg==",
	  "521 SHA256:2FRZng0nfGCumyoNcCqNDl/e0tsdrpm7UPYmU+Wvfdo no comment (ECDSA)" },
	{ "/ssh_host_ecdsa_key.pub",
	  "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCmbs99y"
	  "63TmwL+1P2V7Ckj3rNmllJffd9zpwj7VR+/+YQ8JNlOzut7kcCpRtE39bOTMv2NXIcllIMukCLERgCI="
	  " root@web",
	  "256 SHA256:sqwiVZm1/RnZr+twRtI1qglbDHmH0I57g2/9Ut979m0 root@web (ECDSA)" },
	{ "/ssh_host_ed25519_key.pub",
	  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILDYWaZu4jmK5Egrspit6Y5Yka4nwwaUs1y4lvcdEgpo"
	  " root@web",
	  "256 SHA256:2bMIfvo3kM79gc6tRPsD+HQwZWqYxKSrqKfjWP4b7l0 root@web (ED25519)" },
	{ "/ssh_host_rsa_key.pub",
	  "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCfnOgPvPq/4Hbxx6MKS2bQSTOBzrIrZfTHsU9qnCYW"
	  "thO3kG3nmhORymE0RAeMJWlyYPGAdAcA/7x7o85iDW2AXzxn2U/UgRDinIr1wHMIqBPtoORMK3KzttzT"
	  "rm7kH+78jXdkisE2P/sRceqcyS2QavN6TbEA4tIei6b5au6ieGM1qsIzXr/yoc6bsKWKc6zhThdlW0Lx"
	  "g4T7FAVksXsnjdx7veHSQijnxOEL11yxaubUryn0RAfRQmi210tPH5QbFcC1Y1Fihlu4/AKkuzq/etvQ"
	  "B7pXnedN3CO87oD0aLYPYLQrzIoF/LmTxVEERBqukmml5BCjo8AVyVuPPjBr root@web",
	  "2048 SHA256:IPVbqve6Q0ogmdgaTRKk0cTHnrAVwqeAeLHqgOns2c4 root@web (RSA)" },
};

static void fingerprints_are_those_of_ssh_keygen(struct t *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		auto_free char *print = rouse_ssh_fingerprint(keys[i].key);

		T_STR(t, print ? print : "", keys[i].print);
	}
}

static void what_is_no_key_has_none(struct t *t)
{
	static const char *const lines[] = { "",
					     " ",
					     "ssh-ed25519",
					     "ssh-ed25519 ",
					     "ssh-ed25519 !!!! x",
					     "ssh-dss AAAA x",
					     "ssh-ed25519x AAAA",
					     "-----BEGIN OPENSSH PRIVATE KEY-----",
					     "ssh-rsa AAAA x",
					     "ssh-rsa AAAAB3NzaC1yc2E= x",
					     "ssh-rsa /////3NzaC1yc2E= x",
					     "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ== x" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_free char *print = rouse_ssh_fingerprint(lines[i]);

		T_CHECK(t, !print);
	}
}

static void all_host_keys_are_shown_between_the_lines_that_tools_look_for(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *none = console_host_keys(r.path), *text = NULL;
	struct rouse_buf want = { 0 };

	T_CHECK(t, !none);
	t_root_write(&r, "/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n",
		     0600);
	t_root_write(&r, "/ssh_host_dsa_key.pub", "ssh-dss AAAA root@web\n", 0644);
	t_root_write(&r, "/id_ed25519.pub", keys[0].key, 0644);
	rouse_buf_printf(&want, "\r\n-----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		auto_free char *line = rouse_asprintf("%s\n", keys[i].key);

		t_root_write(&r, keys[i].file, line, 0644);
		rouse_buf_printf(&want, "%s\r\n", keys[i].print);
	}
	rouse_buf_printf(
		&want,
		"-----END SSH HOST KEY FINGERPRINTS-----\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		rouse_buf_printf(&want, "%s\r\n", keys[i].key);
	rouse_buf_printf(&want, "-----END SSH HOST KEY KEYS-----\r\n");
	text = console_host_keys(r.path);
	T_STR(t, text ? text : "", want.data);
	rouse_buf_done(&want);
}

T_MAIN(T(fingerprints_are_those_of_ssh_keygen), T(what_is_no_key_has_none),

       T(all_host_keys_are_shown_between_the_lines_that_tools_look_for))
