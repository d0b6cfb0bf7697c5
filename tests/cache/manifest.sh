#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Closure manifests: written from caches, pinned by a digest, pulled without a walk and without a key.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
list_closure >"$W/names"
describe /nix/store "$W/names" >"$W/original"
make_cache zstd zstd
make_cache xz xz
serve

same() { # same DIR
	describe "$1/nix/store" "$W/names" >"$W/pulled" && diff "$W/original" "$W/pulled" >"$W/out"
}
manifest() { # manifest FILE CACHE… -- [OPTION…]
	local file=$1 args=()
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		args+=(--cache "$1")
		shift
	done
	[ $# -gt 0 ] && shift
	"$ROUSE" manifest "${args[@]}" --key "$KEY" "$@" "$TOP" >"$file" 2>"$W/out"
}
# The same without a key: nothing that is not pinned can be had.
pull_pinned() { # pull_pinned DIR CACHE MANIFEST [OPTION…]
	local dir=$1 cache=$2 pin=$3
	shift 3
	mkdir -p "$dir"
	"$ROUSE" pull --cache "$cache" --manifest "$pin" --store "$dir" "$@" "$TOP" >"$W/out" 2>&1
}
ask() { # ask PYTHON: of the manifest m
	python3 -c "import json,sys; m = json.load(open('$W/m.json')); sys.exit(0 if $1 else 1)"
}

ok writes manifest "$W/m.json" "$HTTP/zstd"
ok lists_every_path [ "$(python3 -c "import json; print(*sorted(p['path'][11:] for p in json.load(open('$W/m.json'))['paths']), sep='\n')")" = "$(cat "$W/names")" ]
ok is_in_byte_order ask '[p["path"] for p in m["paths"]] == sorted(p["path"] for p in m["paths"])'
ok has_references_in_byte_order ask 'all(p["references"] == sorted(p["references"]) for p in m["paths"])'
ok has_what_nix_has ask "next(p['narSize'] for p in m['paths'] if p['path'] == '$TOP') == $(nix-store -q --size "$TOP")"
manifest "$W/m2.json" "$HTTP/zstd"
ok is_the_same_when_written_again cmp "$W/m.json" "$W/m2.json"
manifest /dev/full "$HTTP/zstd"
ok output_that_is_lost_is_a_failure [ $? = 71 ]
ok writes_a_file_and_says_the_pin manifest "$W/pin" "$HTTP/zstd" -- --output "$W/m3.json"
ok writes_the_same_file cmp "$W/m.json" "$W/m3.json"
digest=$(sha256sum <"$W/m.json" | cut -d' ' -f1)
ok says_its_digest grep -q "$digest" "$W/pin"
ok says_the_hash_of_the_root grep -q '"narHash": "sha256-' "$W/pin"

: >"$W/access.log"
ok pulls_by_url_without_a_key pull_pinned "$W/a" "$HTTP/zstd" "$HTTP/m.json#sha256=$digest" --json
ok is_the_same_to_the_bit same "$W/a"
ok asks_for_no_narinfo [ "$(grep -c narinfo "$W/access.log")" = 0 ]
ok asks_once_for_it [ "$(grep -c m.json "$W/access.log")" = 1 ]
ok pulls_by_file pull_pinned "$W/b" "file://$W/zstd" "$W/m.json"
ok is_registered_as_without_it [ "$(sort "$W/a/nix/var/nix/rouse/registration" | sha256sum)" = "$(pull "$W/c" "$HTTP/zstd"; sort "$W/c/nix/var/nix/rouse/registration" | sha256sum)" ]
: >"$W/access.log"
ok of_what_is_there_is_not_fetched pull_pinned "$W/a" "$HTTP/zstd" "$HTTP/m.json#sha256=$digest"
ok of_what_is_there_asks_nobody [ ! -s "$W/access.log" ]

# An archive that is not where it was: the caches are asked, and what they have must be the same.
mkdir "$W/moved"
cp -r "$W/zstd/nar" "$W/moved"
cp "$W"/zstd/*.narinfo "$W/moved"
one=$(python3 -c "import json; print(next(p['url'] for p in json.load(open('$W/m.json'))['paths'] if p['path'] == '$TOP'))")
mv "$W/moved/$one" "$W/moved/nar/elsewhere.nar.zst"
sed -i 's|^URL: .*|URL: nar/elsewhere.nar.zst|; s|^Sig: .*|Sig: nobody-1:AAAA|' "$W/moved/${TOP:11:32}.narinfo"
ok moved_archive_is_found pull_pinned "$W/d" "$HTTP/moved" "$W/m.json"
ok moved_archive_is_the_same same "$W/d"
sed -i 's|^NarSize: .*|NarSize: 8|' "$W/moved/${TOP:11:32}.narinfo"
pull_pinned "$W/e" "$HTTP/moved" "$W/m.json"
ok another_build_is_refused [ $? = 78 ]
ok another_build_leaves_nothing [ ! -e "$W/e$TOP" ]
ok other_compression_serves_nothing_else pull_pinned "$W/f" "$HTTP/xz" "$W/m.json" --cache "$HTTP/zstd"

# What is not what was pinned.
pull_pinned "$W/g" "$HTTP/zstd" "$HTTP/m.json#sha256=${digest//[0-9]/0}"
ok wrong_digest_is_untrusted [ $? = 77 ]
ok wrong_digest_says_so grep -q "manifest .* is pinned" "$W/out"
pull_pinned "$W/g" "$HTTP/zstd" "$HTTP/none.json#sha256=$digest"
ok missing_is_a_wrong_document [ $? = 78 ]
pull_pinned "$W/g" "$HTTP/zstd" "$HTTP/m.json"
ok url_without_digest_is_usage [ $? = 64 ]
python3 - "$W" <<'END'
import json, sys
m = json.load(open(sys.argv[1] + "/m.json"))
m["paths"] = [p for p in m["paths"] if not p["path"].endswith("-lib-1.0")]
json.dump(m, open(sys.argv[1] + "/open.json", "w"))
m = json.load(open(sys.argv[1] + "/m.json"))
for p in m["paths"]:
    if p["path"].endswith("-lib-1.0"):
        p["narHash"] = "sha256-" + "A" * 43 + "="
json.dump(m, open(sys.argv[1] + "/other.json", "w"))
END
pull_pinned "$W/g" "$HTTP/zstd" "$W/open.json"
ok open_one_is_a_wrong_document [ $? = 78 ]
ok open_one_says_so grep -q "referenced, and not listed" "$W/out"
ok nothing_was_written_so_far [ ! -e "$W/g/nix/store" ]
pull_pinned "$W/h" "$HTTP/zstd" "$W/other.json"
ok wrong_hash_is_untrusted [ $? = 77 ]
ok wrong_hash_shows_nothing [ -z "$(find "$W/h/nix/store" -maxdepth 1 -name '*-lib-1.0')" ]

# In a document.
document() { # document FILE MANIFEST-DIGEST
	cat >"$1" <<-END
		{
		  "rouse": 1,
		  "caches": { "acme": { "url": "$HTTP/zstd" } },
		  "system": $(sed "s|\"url\": \"\"|\"url\": \"$HTTP/m.json\"|; s|$digest|$2|" "$W/pin")
		}
	END
}
document "$W/doc" "$digest"
mkdir -p "$W/root"
"$ROUSE" plan --root "$W/root" --only closure "$W/doc" >"$W/out" 2>&1
ok plan_knows_the_size grep -q "pull $TOP from acme ($(wc -l <"$W/names") paths, .* MiB, .* to download)" "$W/out"
ok document_needs_no_key "$ROUSE" apply --yes --root "$W/root" --only closure "$W/doc"
ok document_pulls_the_same same "$W/root"
document "$W/doc" "${digest//[0-9]/0}"
mkdir -p "$W/root2"
"$ROUSE" apply --yes --root "$W/root2" --only closure "$W/doc" >"$W/out" 2>&1
ok document_with_another_digest_is_untrusted [ $? = 77 ]
sed -i '/"manifest"/,/}/d; s|\("narHash": .*\),|\1|' "$W/doc"
"$ROUSE" check "$W/doc" >"$W/out" 2>&1
ok document_without_manifest_needs_keys grep -q '"keys" is empty' "$W/out"

finish
