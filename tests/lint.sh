#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rules that a compiler does not know. Prints each violation and exits 1 when there is one.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

complain() {
	echo "lint: $*" >&2
	bad=1
}

# Without git, or in a tree of somebody else that git does not trust, all files but what a build made
files=$(git ls-files -co --exclude-standard 2>/dev/null ||
	find . -path ./build -prune -o -path ./.git -prune -o -type f -print)
c_files=$(echo "$files" | grep '\.[ch]$')
# Data of test cases may look like a script; that is what they test.
scripts=$(echo "$files" | grep -vE '^(\./)?tests/.*/document\.' | while read -r f; do
	[ -f "$f" ] && head -c 32 "$f" | head -n 1 | grep -qE '^#!.*\b(sh|bash|dash)$' && echo "$f"
done)

# Calls that cannot be used safely, or that start a shell. Tests read only what they wrote.
# shellcheck disable=SC2046
grep -nE '\b(strcpy|strcat|sprintf|vsprintf|strncpy|strtok|atoi|atol|sscanf|gets|system|popen|alloca) *\(' \
	$(echo "$c_files" | grep -v '^tests/') &&
	complain "banned calls (above)"
# shellcheck disable=SC2086
grep -L 'SPDX-License-Identifier: Apache-2.0' $c_files $scripts | grep . && complain "files without an SPDX line (above)"

# A module includes no other module; agent/ includes no module's private header.
for d in modules/*/; do
	name=$(basename "$d")
	grep -nE '#include "\.\./' "$d"*.c "$d"*.h 2>/dev/null && complain "module '$name' includes a sibling (above)"
done
grep -nE '#include "(\.\./)?modules/' agent/*.c agent/*.h && complain "agent/ includes a module's header (above)"

# Every public header compiles alone.
for h in include/rouse/*.h; do
	# shellcheck disable=SC2046
	echo "#include <rouse/$(basename "$h")>" |
		${CC:-cc} -std=gnu17 -D_GNU_SOURCE -Iinclude $(pkg-config --cflags jansson) -Wall -Wextra -Werror \
			-x c -fsyntax-only - || complain "$h does not compile alone"
done

if command -v clang-format >/dev/null; then
	# shellcheck disable=SC2086
	clang-format --dry-run -Werror $c_files || complain "clang-format would change the files above"
fi
if command -v shellcheck >/dev/null; then
	# shellcheck disable=SC2086
	shellcheck -S warning -e SC3043,SC1007,SC2154,SC2239 $scripts || complain "shellcheck has complaints (above)"
fi
exit $bad
