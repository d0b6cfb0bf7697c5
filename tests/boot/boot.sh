#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole way in virtual machines: from a disk, a source and a cache to a verdict. One scene, one
# disk after the other; each boot has its own bound.
# shellcheck disable=SC2034,SC2154,SC2317 # scene.sh sets variables; functions are called through ok()
set -u
cd "$(dirname "$0")/../.." || exit 1

scene=$(mktemp -d)
# shellcheck source=tests/boot/scene.sh
. tests/boot/scene.sh
trap 'scene_close; rm -rf "$scene"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tap_begin "$scene/why"

lacks() # FILE PATTERN
{
	! grep -e "$2" "$1"
}

# No block of the disk was ever written: the file has none
blank()
{
	equal "$(stat -c %b "$scene/disk.img")" 0
}

# One boot, from here to the verdict: boot SECONDS [ARG]...
boot()
{
	bound=$1
	shift
	: > "$scene/web/requests"
	rm -f "$scene/report.json"
	echo '{}' > "$scene/report.json"
	scene_boot --append "quiet loglevel=3 $append" --timeout $((bound + 30)) "$@"
	scene_wait "$bound" || { echo "# the console said:"; tail -n 20 "$scene/console" | sed 's/^/#   /'; }
}

# What comes of the machine that holds, after COMMAND has put right what it failed with: healed SECONDS
# COMMAND [ARG]... It may have begun anew with what was wrong before COMMAND had run: that fails once more.
healed()
{
	bound=$1
	shift
	scene_told=$(grep -c '"event": *"report"' "$scene/status")
	"$@"
	until=$(($(date +%s) + bound))
	verdict=failed
	while [ "$verdict" = failed ]; do
		scene_wait $((until - $(date +%s))) || {
			echo "# the console said:"
			tail -n 20 "$scene/console" | sed 's/^/#   /'
			return
		}
		scene_told=$((scene_told + 1))
	done
}

ended() # SECONDS
{
	end=$(($(date +%s) + $1))
	while scene_running; do
		[ "$(date +%s)" -lt "$end" ] || { echo "it still runs"; return 1; }
		sleep 0.2
	done
	scene_kill
}

# By its own doing: exits STATUS
exits()
{
	end=$(($(date +%s) + 30)) ended=0
	while scene_running; do
		[ "$(date +%s)" -lt "$end" ] || { echo "it still runs"; return 1; }
		sleep 0.2
	done
	wait "$scene_vm" || ended=$?
	scene_vm=
	equal "$ended" "$1"
}

# Changes files of the root partition: on_root COMMAND..., of debugfs
on_root()
{
	start=$(sfdisk -d "$scene/disk.img" | sed -n 's/.*disk.img2 : start= *\([0-9]*\),.*/\1/p')
	printf '%s\n' "$@" | debugfs -w -f - "$scene/disk.img?offset=$((start * 512))" > /dev/null 2>&1
}

# Signed, so that the document may change in its place
publish_signed() # FILE
{
	cp "$1" "$scene/web/fleet/web.json.new"
	"$ROUSE" sign "$scene/web/fleet/web.json.new" --key "$scene/fleet.secret" > "$scene/sign.log" &&
		mv "$scene/web/fleet/web.json.new.sig" "$scene/web/fleet/web.json.sig" &&
		mv "$scene/web/fleet/web.json.new" "$scene/web/fleet/web.json"
}

in_guest() # COMMAND
{
	ssh -q -i "$scene/key" -p "$port_ssh" -o BatchMode=yes -o ConnectTimeout=20 -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null ops@127.0.0.1 "$1" < /dev/null
}

verdict_is() # VERDICT STATUS
{
	ok "$scenario: the verdict on the port is $1" equal "$verdict" "$1"
	ok "$scenario: its status is $2" equal "$(scene_report status)" "$2"
	ok "$scenario: the console says so" contains "$scene/console" "ROUSE-STATE .*state=$1"
}

# Steps that were applied, over all phases
steps()
{
	python3 - "$scene/report.json" << 'END'
import json, sys
report = json.load(open(sys.argv[1]))
for phase in report.get("phases", []):
    for step in phase.get("steps", []):
        if step.get("effect") != "use":
            print(step.get("what"))
END
}

ec2() {
	bound=$1
	shift
	boot "$bound" --imds "$port_imds" --forward "$port_ssh:22" "$@"
}

# Gives up early: hasty SECONDS, for the scenarios in which nothing comes
hasty() {
	echo "{ \"deadline\": \"$1s\" }" > "$scene/agent.json"
	scene_initramfs "$scene/hasty$1.initramfs" --settings "$scene/agent.json"
}

append=''
if ! { scene_prepare && scene_open && hasty 20 && hasty 40; } > "$scene/prepare.log" 2>&1; then
	sed 's/^/# /' "$scene/prepare.log"
	printf '1..1\nnot ok 1 - %s\n' "the scene cannot be set"
	exit 1
fi
patient=$scene_initrd
scene_document "$scene/good.json"

scenario='fresh disk'
scene_disk 4G
scene_publish "$scene/good.json"
ec2 120
verdict_is ready 0
ok "$scenario: every path came from the cache once" equal \
	"$(grep -c '/cache/nar/.* 200' "$scene/web/requests")" "$(wc -l < $scene_world/paths)"
ok "$scenario: … and was unpacked under seccomp" contains "$scene/report.json" '"confinement.seccomp": 1'
ok "$scenario: … and under Landlock" contains "$scene/report.json" '"confinement.landlock": [1-9]'
ok "$scenario: a person can log in, and the host name is the document's" equal \
	"$(in_guest 'id -un; cat /proc/sys/kernel/hostname' | tr '\n' ' ')" "ops web-i-0abc123def4567890 "
ok "$scenario: the file of the document is there" equal \
	"$(in_guest 'cat /srv/www/index.html')" "Hello from a disk that was blank."
ok "$scenario: the system is remembered as healthy" equal \
	"$(in_guest 'cat /var/lib/rouse/generations.json' | sed -n 's/.*"path": "\(.*\)".*/\1/p')" \
	"$(in_guest 'readlink /nix/var/nix/profiles/system-1-link')"
in_guest 'tr "\0" " " < /proc/1/cmdline' > "$scene/init"
ok "$scenario: init is the closure's systemd" contains "$scene/init" '^/nix/store/.*/lib/systemd/systemd'
scene_halt

scenario='second boot, cache away'
: > "$scene/web/away"
ec2 90
rm "$scene/web/away"
verdict_is ready 0
ok "$scenario: nothing was changed" equal "$(steps)" ""
ok "$scenario: the cache was asked for nothing" lacks "$scene/web/requests" '/cache/.*\(narinfo\|nar/\)'
echo "# $scenario: ready $(scene_report since) ms after power-on"
scene_halt
cp --sparse=always "$scene/disk.img" "$scene/provisioned.img"

scenario='larger disk'
truncate -s 6G "$scene/disk.img"
# An override of the machine itself, which its initramfs cannot see before the root is mounted.
echo '{ "files": { "/srv/www/override": { "contents": "of this machine" } } }' > "$scene/override"
on_root 'mkdir /etc/rouse' 'mkdir /etc/rouse/override.d' "write $scene/override /etc/rouse/override.d/50-files.json"
ec2 90
verdict_is ready 0
steps > "$scene/steps"
ok "$scenario: an override of the machine counts" equal "$(in_guest 'cat /srv/www/override')" "of this machine"
ok "$scenario: the root partition grows" contains "$scene/steps" '^grow partition 2 of /dev/vda from 3\.8 GiB to 5\.8 GiB'
ok "$scenario: its filesystem grows" contains "$scene/steps" '^grow ext4 on / from'
ok "$scenario: nothing else was changed" equal "$(grep -v '^grow' "$scene/steps" | cut -d' ' -f1,2)" "write /srv/www/override"
ok "$scenario: the machine sees the room" test \
	"$(in_guest 'df -k /' | awk 'NR == 2 { print $2 }')" -gt 5500000
ok "$scenario: the cache was asked for nothing" lacks "$scene/web/requests" '/cache/.*\(narinfo\|nar/\)'
scene_halt
cp --sparse=always "$scene/provisioned.img" "$scene/disk.img"

scenario='bucket away, provisioned disk'
scene_publish "$scene/good.json"
sed -i "s,$scene_url,http://169.0.2.2:1," "$scene/user-data"
scene_initrd=$scene/hasty20.initramfs
ec2 90
verdict_is degraded 3
ok "$scenario: the reason is the bucket's" contains "$scene/report.json" '"reason": "from: cannot fetch .*169.0.2.2:1/fleet/web.json'
ok "$scenario: the generation is the one it has" equal "$(in_guest 'readlink /run/booted-system')" "$(cat $scene_world/system)"
ok "$scenario: the verdict is there in time" [ "$(scene_report since)" -lt 50000 ]
scene_halt
scene_initrd=$patient

# An image with a closure in its store: no generation, nothing that was ever healthy
scenario='system of the document out of reach, and a baked one to fall back to'
sed -e "s,$scene_url/cache,http://169.0.2.2:1/cache," -e 's,/nix/store/.\{32\}-rouse,/nix/store/0123456789abcdfghijklmnpqrsvwxyz-rouse,' \
	-e "s,\"narHash\": ,\"fallback\": \"$(cat $scene_world/system)\"\\, &," \
	"$scene/good.json" > "$scene/away.json"
cp --sparse=always "$scene/provisioned.img" "$scene/disk.img"
on_root 'rm /var/lib/rouse/generations.json' 'rm /nix/var/nix/profiles/system' 'rm /nix/var/nix/profiles/system-1-link'
scene_publish "$scene/away.json"
scene_initrd=$scene/hasty20.initramfs
ec2 120
verdict_is degraded 3
ok "$scenario: the reason is that of the document's system" contains "$scene/report.json" '0123456789abcdfghijklmnpqrsvwxyz-rouse'
ok "$scenario: it is the baked one that runs" equal "$(in_guest 'readlink /run/booted-system')" "$(cat $scene_world/system)"
scene_halt

scenario='the same, and the document says hold'
sed 's/"deadline": "90s"/"deadline": "90s", "onFailure": "hold", "holdPoll": "2s"/' "$scene/away.json" > "$scene/hold.json"
cp --sparse=always "$scene/provisioned.img" "$scene/disk.img"
scene_publish "$scene/hold.json"
scene_initrd=$scene/hasty40.initramfs
ec2 120
verdict_is failed 75
ok "$scenario: the report says that it is held, as no other machine would do better" equal \
	"$(scene_report action) $(scene_report fault)" 'hold fleet'
scenario='the same machine, and the document is put right'
healed 120 scene_publish "$scene/good.json"
verdict_is ready 0
scene_halt

scenario='a system that is not healthy'
cp --sparse=always "$scene/provisioned.img" "$scene/disk.img"
sed -e "s,$(cat $scene_world/system),$(cat $scene_world/second)," -e "s,$(cat $scene_world/narhash),$(cat $scene_world/second.narhash)," \
	-e 's/"deadline": "90s"/"deadline": "25s"/' "$scene/good.json" > "$scene/ill.json"
scene_publish "$scene/ill.json"
scene_initrd=$patient
ec2 120
verdict_is failed 71
ok "$scenario: the reason names the check" contains "$scene/report.json" "check '[a-z]*' never passed"
ok "$scenario: the report says what comes next" equal "$(scene_report action)" fallback
ok "$scenario: the machine reboots" ended 60
scenario='the boot after that'
ec2 120
verdict_is degraded 3
ok "$scenario: the reason is that of the boot before" contains "$scene/report.json" "failed on this machine in the boot before this one: check '[a-z]*' never passed"
ok "$scenario: the system is the one that was healthy" equal "$(in_guest 'readlink /run/booted-system')" "$(cat $scene_world/system)"
scene_halt

scenario='kernel command line'
cp --sparse=always "$scene/provisioned.img" "$scene/disk.img"
scene_initrd=$patient
# A unit of the document, and a drop-in of one that is there already, where /etc is the closure's, as in NixOS:
# both are in /run, where the real systemd has to find them. The unit has systemd read all of them once more, while
# health is looked at.
: > "$scene/NIXOS"
on_root "write $scene/NIXOS /etc/NIXOS"
sed -i -e 's/{instance.id}/by-cmdline/' -e '/^  "users"/i\
  "units": {\
    "nginx.service": { "dropIns": { "10-limits.conf": "[Service]\\nLimitNOFILE=4321\\n" } },\
    "here.service": { "enable": true, "contents": "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nRuntimeDirectory=here\\nExecStart=/usr/bin/systemctl daemon-reload\\n[Install]\\nWantedBy=multi-user.target\\n" } },' \
	"$scene/good.json"
append="rouse.document=$scene_url/fleet/web.json rouse.sha256=$(sha256sum < "$scene/good.json" | cut -d ' ' -f 1)"
scene_publish "$scene/good.json"
boot 90 --forward "$port_ssh:22"
append=''
verdict_is ready 0
ok "$scenario: the host name is the document's" equal "$(in_guest 'cat /proc/sys/kernel/hostname')" web-by-cmdline
ok "$scenario: a drop-in beside a closure's unit counts" equal \
	"$(in_guest "grep 'open files' /proc/\$(cat /run/nginx/nginx.pid)/limits" | awk '{ print $4 }')" 4321
ok "$scenario: a unit beside those of a closure has run, and the verdict outlives its daemon-reload" equal "$(in_guest 'ls -d /run/here')" /run/here
ok "$scenario: they are where the boot ends them" equal "$(in_guest 'ls /run/systemd/system.control')" "$(printf 'here.service\nmulti-user.target.wants\nnginx.service.d')"
scene_halt

scenario='NoCloud disk, blank disk'
scene_disk 4G
mkdir -p "$scene/seed"
sed 's/by-cmdline/{instance.id}/' "$scene/good.json" > "$scene/seed/user-data"
printf 'instance-id: seed-1\nlocal-hostname: seed\n' > "$scene/seed/meta-data"
xorriso -as mkisofs -quiet -V cidata -J -r -o "$scene/seed.iso" "$scene/seed" > "$scene/iso.log" 2>&1
boot 120 --cdrom "$scene/seed.iso" --forward "$port_ssh:22"
verdict_is ready 0
ok "$scenario: the instance is the seed's" equal "$(in_guest 'cat /proc/sys/kernel/hostname')" web-seed-1
scene_halt

scenario='NoCloud disk on vfat, second boot'
truncate -s 8M "$scene/seed.img"
mkfs.vfat -n CIDATA "$scene/seed.img" > "$scene/vfat.log"
sed -i 's/seed-1/seed-2/' "$scene/seed/meta-data"
# The last word of this one ends QEMU, and says the verdict by its exit status
sed -i 's/"ci": { /&"debugExit": 1281, /' "$scene/seed/user-data"
mcopy -i "$scene/seed.img" "$scene/seed/user-data" "$scene/seed/meta-data" ::
# Nobody reads its console, a serial port: what is behind it is full, and there is more to say than it holds
rm "$scene/console"
mkfifo "$scene/console"
exec 6<> "$scene/console"
head -c 65536 /dev/zero >&6
scene_boot --append "quiet loglevel=3 rouse.debug" --timeout 120 --disk "$scene/seed.img" --exit-device
scene_wait 90
ok "$scenario: the verdict on the port is ready, whoever reads its console" equal "$verdict" ready
ok "$scenario: only the host name was changed" contains "$scene/report.json" "'web-seed-2' in /etc/hostname"
ok "$scenario: the seed is not taken for the root disk" lacks "$scene/report.json" 'GPT'
ok "$scenario: the exit status of QEMU is that of a machine that is ready" exits 33
exec 6>&-
rm "$scene/console"

rm -f "$scene/provisioned.img"
scene_disk 4G

scenario='document with another digest, blank disk'
scene_publish "$scene/good.json" "$(printf %064d 0)"
ec2 90
verdict_is failed 77
ok "$scenario: the disk is as it was" blank
scene_kill

scenario='unknown key, blank disk'
sed 's/"hostname"/"hostnme"/' "$scene/good.json" > "$scene/typo.json"
"$ROUSE" keygen --output "$scene/fleet.secret" fleet-1 > "$scene/fleet.public"
publish_signed "$scene/typo.json"
: > "$scene/user-data"
echo "{ \"document\": \"$scene_url/fleet/web.json\", \"requireSignature\": true, \"keys\": [\"$(cat "$scene/fleet.public")\"], \"holdPoll\": \"3s\", \"signals\": { \"asg\": { \"group\": \"web\", \"hook\": \"launch\", \"endpoint\": \"$scene_url/group\" } } }" > "$scene/agent.json"
scene_initrd=$scene/signed.initramfs
scene_initramfs "$scene_initrd" --settings "$scene/agent.json" > "$scene/initramfs.log" 2>&1
ec2 90
verdict_is failed 78
ok "$scenario: the reason has line, column and key" contains "$scene/report.json" "web.json:4:[0-9]*:.*hostnme"
ok "$scenario: and so has the console" contains "$scene/console" "web.json:4:[0-9]*:.*hostnme"
ok "$scenario: the disk is as it was" blank
scenario='the same machine, and the bucket is put right'
end=$(($(date +%s) + 60))
until grep -q 'POST /group' "$scene/web/requests" || [ "$(date +%s)" -ge "$end" ]; do sleep 0.2; done
ok "$scenario: its group is kept waiting while it is held" contains "$scene/web/requests" 'POST /group/ 200'
healed 120 publish_signed "$scene/good.json"
verdict_is ready 0
scene_halt
scene_disk 4G

scenario='cache away, blank disk'
sed -e "s,$scene_url/cache,http://169.0.2.2:1/cache," -e 's/"ci": { /&"debugExit": 1281, /' -e 's/"deadline": "90s"/&, "onFailure": "abandon"/' \
	"$scene/good.json" > "$scene/away.json"
scene_publish "$scene/away.json"
scene_initrd=$scene/hasty20.initramfs
ec2 120 --exit-device
verdict_is failed 75
ok "$scenario: the reason names the cache" contains "$scene/report.json" "169.0.2.2:1/cache"
ok "$scenario: the exit status of QEMU is that of a boot that found its cache away" exits $((33 + 2 * 75))
ok "$scenario: the disk is as it was" blank

tap_end
