#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent as a unit that crashes: its parent tries it again, and where that has ended, too, its init starts it anew.
# Each phase, each way to end. The init is a shell, process 1 of a namespace.
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=${ROUSE:-build/rouse}
CC=${CC:-cc}
if [ "$(id -u)" != 0 ] || ! unshare --pid --fork --mount-proc true 2> /dev/null; then
	echo '1..0 # SKIP needs root and namespaces'
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tap_begin "$work/why" "$work/said" "$work/out" "$work/run/status.json"

$CC -std=gnu17 -D_GNU_SOURCE -O1 -shared -fPIC -o "$work/fault.so" tests/boot/init/fault.c || exit 1
printf '{ "rouse": 1, "files": { "/etc/motd": { "contents": "up" } } }' > "$work/web.json"
printf '{ "document": "%s", "signals": { "prometheus": { "file": "%s" } } }' "$work/web.json" "$work/metrics.prom" > "$work/agent.json"
chmod 600 "$work/agent.json"

# Starts the boot as its unit does, and again when all of it was killed; says how each ended:
# start INIT KIND PHASE...
start()
{
	init=$1 kind=$2
	shift 2
	rm -rf "$work/root" "$work/run" "$work/faults" "$work/metrics.prom"
	mkdir -p "$work/root/etc" "$work/run" "$work/faults"
	spare source document facts plan prepare apply activate health
	for phase in "$@"; do
		rm "$work/faults/failed.$phase"
	done
	# shellcheck disable=SC2016,SC2086 # the inner shell expands it; a command with arguments
	$init sh -c 'for run in 1 2 3; do
			env LD_PRELOAD="$1/fault.so" ROUSE_FAULT="$2" ROUSE_FAULT_DIR="$1/faults" "$3" boot --root "$1/root" \
				--run "$1/run" --settings "$1/agent.json" > "$1/out" 2>&1
			status=$?
			printf "%s " $status
			[ $status -ge 128 ] && [ $status != 143 ] || break # as Restart=on-abnormal
		done' sh "$work" "$kind" "$ROUSE" > "$work/said" 2> /dev/null
}

spare() # PHASE...
{
	for phase in "$@"; do
		: > "$work/faults/failed.$phase"
	done
}

# The same command for what comes behind the boot: go_on KIND PHASE ARG...
go_on()
{
	kind=$1
	rm "$work/faults/failed.$2"
	shift 2
	env LD_PRELOAD="$work/fault.so" ROUSE_FAULT="$kind" ROUSE_FAULT_DIR="$work/faults" "$ROUSE" "$@" --run "$work/run" \
		> "$work/out" 2>&1
	printf '%s ' $? > "$work/said"
}

ended() # TEXT
{
	[ "$(cat "$work/said")" = "$1 " ]
}

reports() # PATTERN...
{
	for pattern in "$@"; do
		grep -q -e "$pattern" "$work/run/report.json" || return 1
	done
}

gave_up() # PHASE HOW [STATUS]
{
	ended "${3:-71}" && reports '"verdict": *"failed"' '"action": *"hold"' '"announced": *true' \
		"the agent has crashed 2 times, in phase '$1'${2:+: $2}"
}

went_well()
{
	ended 0 && reports '"verdict": *"ready"' '"healthCrashes": *1' 'killed by signal 11 (Segmentation fault), in the midst of the health checks'
}

went_on() # STATUS...
{
	ended "$*" && reports '"crashes": *1' '"verdict": *"pending"' && [ -s "$work/root/etc/motd" ]
}

start '' none
ok "no crash: one run" ended 0
under_init='unshare --pid --fork --mount-proc'
for phase in source document facts plan prepare apply; do
	start "$under_init" crash $phase
	ok "one crash in phase '$phase': it is tried again, and comes to the end" went_on 0
done
start "$under_init" kill source document
ok "two crashes in the first phases: the verdict is there, with the reason" gave_up document 'the agent was killed by signal 9'
ok "two crashes in the first phases: whom the image names hears of it" grep -q '^rouse_verdict{verdict="failed"} 1' "$work/metrics.prom"
start "$under_init" abort facts plan
ok "two crashes while planning: the verdict is there, with the reason" gave_up plan 'the agent was killed by signal 6'
ok "two crashes while planning: nothing was changed" [ ! -e "$work/root/etc/motd" ]
start "$under_init" crash prepare apply
ok "two crashes while changing: the verdict is there, with the reason" gave_up apply 'the agent was killed by signal 11'
start '' crash source
ok "one crash of what a person has started: it is tried again, too" went_on 0
start "$under_init" end document
ok "what is asked to end ends, and is not tried again" ended 143
start "$under_init" end apply
: > "$work/run/soft-reboot"
# shellcheck disable=SC2086 # a command with arguments
$under_init sh -c '"$@"; exit $?' sh "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" > "$work/out" 2>&1
ok "what userspace that starts anew has ended comes to the end when it is started again" reports '"verdict": *"pending"'
ok "what userspace that starts anew has ended is not counted" [ "$(grep -c '"crashes"' "$work/run/report.json")" = 0 ]
ok "what userspace that starts anew has ended is forgotten" [ ! -e "$work/run/soft-reboot" ]

# The parent, too: then it is the init that starts the unit once more
start "$under_init" unit apply
ok "the whole unit is killed: the next start comes to the end" went_on 137 0
start "$under_init" unit source document
ok "the whole unit is killed twice: the verdict is there" gave_up document '' '137 137 71'
start '' unit source document
ok "what a person ends at a terminal has crashed nothing" ended '137 137 0'

start '' none
go_on crash health health --supervise
ok "one crash in the health checks: they are made again, and the machine is ready" went_well
# This machine has no system to switch to, which only a try that comes to its end can say
start '' none
go_on crash activate boot --activate
ok "one crash in the switch to another system: it is tried again, and comes to its end" ended 78
ok "one crash in the switch to another system: what it found is the verdict" reports '"verdict": *"failed"' "profiles/system'"
start '' none
ROUSE_FAULT_ALWAYS=1 go_on crash activate boot --activate
ok "two crashes in the switch to another system: it has come to nothing" ended 71
ok "two crashes in the switch to another system: the verdict is there, with the phase" \
	reports '"verdict": *"failed"' "the agent has crashed 2 times, in phase 'activate': the agent was killed by signal 11"
tap_end
