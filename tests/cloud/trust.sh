#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a boot believes: signatures of both kinds, generations and times of documents, layers and their
# chains, the image's settings. Everything is in files; no network is there.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u

# shellcheck source=tests/cloud/lib.sh
. tests/cloud/lib.sh
enter trust 900 "$@"
tap_begin "$work/why" "$work/out" "$work/run/status.json"

mkdir "$work/sys"
mkdir -p "$work/sys/class/dmi/id" "$work/sys/class/block" "$work/sys/class/net"
: >"$work/cmdline"
mount --bind "$work/sys" /sys && mount --bind "$work/cmdline" /proc/cmdline || { echo '1..0 # SKIP no mount'; exit 0; }
DOC=$work/web.json

boot() { # [SETTINGS [COMMAND-LINE]]: boots what the settings name
	settings=${1:-"{ \"document\": \"$DOC\" }"}
	printf '%s' "$settings" >"$work/agent.json"
	printf '%s\n' "${2:-quiet}" >"$work/cmdline"
	again
}
again() {
	rm -rf "$work/run"
	mkdir -p "$work/root/etc" "$work/run"
	rm -f "$work/root/etc/motd"
	chmod "${mode:-600}" "$work/agent.json"
	timeout 60 "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" >"$work/out" 2>&1
	status=$?
	! grep -q canary "$work/out" "$work/run/report.json" "$work/run/status.json" || leaked=1
}
document() { # MEMBERS
	printf '{ "rouse": 1, "files": { "/etc/motd": { "contents": "canary\\n" } }%s }' "${1:+, $1}" >"$DOC"
}
boots() { equal "$status" 0 && [ -e "$work/root/etc/motd" ]; }
fails() { # STATUS TEXT: nothing was written
	case " $1 " in *" $status "*) ;; *) return 1 ;; esac
	grep -q -- "$2" "$work/run/status.json" && [ ! -e "$work/root/etc/motd" ]
}
is() { [ "$1" = "$2" ]; }
digest() { sha256sum "$1" | cut -d' ' -f1; }
leaked=0

# --- signatures ---
KEY=$("$ROUSE" keygen --output "$work/secret" fleet-1)
OTHER=$("$ROUSE" keygen --output "$work/other" other-1)
signed() { printf '{ "document": "file://%s", "requireSignature": true, "keys": [%s] }' "$DOC" "$1"; }
sign() { "$ROUSE" sign --key "$1" "$DOC" >/dev/null; }
document
sign "$work/secret"
boot "$(signed "\"$KEY\"")"
ok signature_boots boots
sign "$work/other"
boot "$(signed "\"$KEY\"")"
ok signature_by_a_stranger_is_refused fails 77 "signed by 'other-1', which is not a trusted key"
boot "$(signed "\"$KEY\", \"$OTHER\"")"
ok signature_by_the_second_key_boots boots
sign "$work/secret"
printf ' ' >>"$DOC"
boot "$(signed "\"$KEY\"")"
ok signature_of_another_text_is_refused fails 77 "the signature by 'fleet-1' is wrong"
: >"$DOC.sig"
boot "$(signed "\"$KEY\"")"
ok signature_that_is_empty_is_refused fails 77 'is not signed'
rm "$DOC.sig"
boot "$(signed "\"$KEY\"")"
ok signature_that_is_missing_is_refused fails 77 'no signature, which this image demands'
printf 'this is no document, and is never read' >"$DOC"
sign_raw() { minisign -S "$@" -s "$work/mini.sec" -m "$DOC" >/dev/null 2>&1 </dev/null; }
if command -v minisign >/dev/null; then
	minisign -G -W -p "$work/mini.pub" -s "$work/mini.sec" >/dev/null
	MINI=$(tail -n 1 "$work/mini.pub")
	document
	sign_raw
	boot "$(signed "\"$MINI\"")"
	ok minisign_boots boots
	boot "$(signed "\"$KEY\", \"$MINI\"")"
	ok minisign_among_other_keys_boots boots
	sign_raw -l -x "$DOC.sig"
	rm "$DOC.minisig"
	boot "$(signed "\"$MINI\"")"
	ok minisign_of_the_old_kind_as_sig_boots boots
	boot "$(signed "\"$KEY\"")"
	ok minisign_by_a_stranger_is_refused fails 77 "signed by 'minisign .*', which is not a trusted key"
	printf ' ' >>"$DOC"
	boot "$(signed "\"$MINI\"")"
	ok minisign_of_another_text_is_refused fails 77 "the signature by 'minisign .*' is wrong"
	rm "$DOC.sig"
	boot "$(signed "\"$MINI\"")"
	ok minisign_that_is_missing_is_refused fails 77 'no signature'
fi

# --- what cannot be switched off ---
document '"requireSignature": false'
sign "$work/secret"
boot "$(signed "\"$KEY\"")"
ok a_document_cannot_say_what_is_demanded fails 78 'requireSignature'
document
printf '%s' '{ "rouse": 1, "hostname": "x" }' >"$work/pointer"
boot "{ \"requireSignature\": true, \"keys\": [\"$KEY\"] }" "rouse.document=file://$DOC rouse.sha256=$(digest "$DOC")"
ok a_digest_does_not_replace_the_signature fails 77 'wrong\|no signature'
mode=622 boot "{ \"document\": \"$DOC\" }"
ok settings_that_others_may_write_are_refused fails 77 'agent.json'
boot "{ \"document\": \"$DOC\", \"requireSignature\": true }"
ok signatures_without_keys_are_a_mistake fails 78 'requireSignature'
boot "{ \"document\": \"https://example.org/web.json\" }"
ok a_url_without_a_pin_is_a_mistake fails 78 'whoever answers there'

boot '{ "document": "cmdline" }' "rouse.document=file://$DOC rouse.sha256=$(digest "$DOC")"
ok a_source_that_the_image_names_is_asked boots
boot '{ "document": "ec2", "deadline": "2s" }' "rouse.document=file://$DOC rouse.sha256=$(digest "$DOC")"
ok a_source_that_the_image_names_is_the_only_one fails "71 75" 'ec2'
boot '{ "document": "ec3" }'
ok a_source_that_is_none_is_a_mistake fails 78 'the name of a source, found'

# --- old documents ---
rm -rf "$work/root"
document '"generation": 7'
boot "{ \"document\": \"$DOC\" }"
ok generation_boots boots
ok generation_is_remembered grep -q '"generation": 7' "$work/root/var/lib/rouse/seen.json"
again
ok generation_boots_again boots
document '"generation": 6'
again
ok generation_that_is_old_is_refused fails 77 'generation is 6, and this machine was provisioned with 7'
document
again
ok generation_that_is_missing_is_refused fails 77 'generation is 0, and this machine was provisioned with 7'
document '"generation": 8'
boot "{ \"document\": \"$DOC\", \"generation\": 9 }"
ok generation_below_the_images_is_refused fails 77 'this image takes none below 9'
ok generation_that_was_refused_is_not_remembered grep -q '"generation": 7' "$work/root/var/lib/rouse/seen.json"
boot "{ \"document\": \"$DOC\", \"generation\": 8 }"
ok generation_of_the_image_boots boots
ok generation_that_is_newer_is_remembered grep -q '"generation": 8' "$work/root/var/lib/rouse/seen.json"
rm -rf "$work/root"
document '"notAfter": "2020-01-01"'
boot
ok time_that_is_over_is_refused fails 77 'may be used until 2020-01-01'
document '"notAfter": "2099-01-01T00:00:00Z"'
boot
ok time_that_is_not_over_boots boots
document '"notAfter": "soon"'
boot
ok time_that_is_none_is_a_mistake fails 78 'notAfter'

# --- layers ---
printf '{ "rouse": 1, "hostname": "base" }' >"$work/base.json"
document "\"from\": { \"url\": \"file://$work/base.json\", \"sha256\": \"$(digest "$work/base.json")\" }"
boot
ok base_boots boots
ok base_is_merged grep -q '"hostname": "base"' "$work/run/document.json"
printf ' ' >>"$work/base.json"
boot
ok base_that_the_machine_has_needs_nobody boots
rm -rf "$work/root"
boot
ok base_that_differs_is_refused fails 77 'base.json: the SHA-256 is'
document "\"from\": { \"url\": \"file://$DOC\", \"sha256\": \"$(digest "$work/base.json")\" }"
boot "{ \"document\": \"file://$DOC\" }"
ok base_of_itself_is_named fails 78 "web.json' is a base of itself"
printf '{ "rouse": 1, "from": { "url": "file://%s", "sha256": "%s" } }' "$DOC" "$(digest "$DOC")" >"$work/base.json"
document "\"from\": { \"url\": \"file://$work/base.json\", \"sha256\": \"$(digest "$work/base.json")\" }"
boot "{ \"document\": \"file://$DOC\" }"
ok cycle_is_named fails 78 "web.json' is a base of itself, through 'file://$work/base.json'"
below=
for i in 1 2 3 4 5; do
	printf '{ "rouse": 1%s }' "$below" >"$work/b$i.json"
	below=", \"from\": { \"url\": \"file://$work/b$i.json\", \"sha256\": \"$(digest "$work/b$i.json")\" }"
	[ $i = 4 ] && four=${below#, }
done
document "$four"
boot
ok four_bases_boot boots
document "${below#, }"
boot
ok five_bases_are_too_many fails 78 'more than 4 bases'

# --- what is not locked ---
document '"channel": "nixos-24.05", "profiles": { "root": { "htop": "*" } }'
boot
ok unlocked_is_refused fails 78 'run `rouse lock` on this document'
ok payload_is_in_no_log_and_no_report is "$leaked" 0
umount /sys /proc/cmdline
tap_end
