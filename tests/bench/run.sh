#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the agent costs, beside what it may cost: `make bench`. The figures are also left, as JSON, in
# build/bench.json, so that two revisions can be compared.
# shellcheck disable=SC2154 # scene.sh sets what this reads
set -eu

usage() {
	cat <<END
Usage: tests/bench/run.sh [--no-machine] [--no-closure]

Measures the binary, the check of a large document, disks beside other tools (on image files, and in a
virtual machine), closures beside real Nix (as root), and two boots of a virtual machine in software
(blank disk, and the same disk again): by the clock, and by the count of instructions, which other work
on this host does not change.

  --no-machine   leaves the virtual machine out
  --no-closure   leaves the closures out
END
}

machine=1 closure=1
for arg in "$@"; do
	case $arg in
	--no-machine) machine='' ;;
	--no-closure) closure='' ;;
	--help) usage && exit 0 ;;
	*) echo "bench: unknown argument '$arg'" >&2 && usage >&2 && exit 64 ;;
	esac
done
cd "$(dirname "$0")/../.."
# Where others work on the same processors, an emulated machine takes the time in which it did not
# run for time in which it worked: it goes first.
if [ -n "$machine" ] && [ -z "${BENCH_FIRST-}" ] && chrt -r 1 true 2>/dev/null; then
	BENCH_FIRST=1 exec chrt -r 1 tests/bench/run.sh "$@"
fi
mkdir -p build
scene=$(mktemp -d build/bench-XXXXXX)
# shellcheck source=tests/boot/scene.sh
. tests/boot/scene.sh
trap 'scene_close; rm -rf "$scene"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

measure() {
	python3 tests/bench/measure.py "$@"
}

# One boot, to its verdict; its report becomes FILE.
boot() { # FILE [ARG]...
	report=$1
	shift
	scene_boot --imds "$port_imds" --append 'quiet loglevel=3' --timeout 330 "$@"
	scene_wait 300
	mv "$scene/report.json" "$report"
	scene_halt
}

# A blank disk, and the same disk again.
boots() { # NAME [ARG]...
	name=$1
	shift
	scene_disk 8G
	boot "$scene/fresh.json" "$@"
	boot "$scene/again.json" "$@"
	measure "$name" "$scene/fresh.json" "$scene/again.json"
}

rm -f build/bench.json
measure program "$ROUSE"
measure check "$ROUSE"
measure disks "$ROUSE"
if [ -n "$machine" ]; then
	scene_prepare
	tests/bench/disks.sh >"$scene/volumes"
	measure volumes "$scene/volumes"
	measure initramfs "$scene_initrd"
	scene_open
	scene_document "$scene/web.json"
	scene_publish "$scene/web.json"
	boots boots
	boots counted --count
fi
if [ -n "$closure" ] && [ "$(id -u)" = 0 ]; then
	python3 tests/bench/closure.py --rounds 3 plain slow slowtls one present small
fi
measure table
