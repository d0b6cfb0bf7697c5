#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent as a unit of an ordinary Debian: the machine boots from a disk larger than its image,
# and goes on booting whatever the agent makes of its document.
# shellcheck disable=SC2317,SC2154 # many functions are called through ok(); scene.sh sets the rest
set -u
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo '1..0 # SKIP needs root'; exit 0; }

scene=$(mktemp -d)
# shellcheck source=tests/boot/scene.sh
. tests/boot/scene.sh
trap 'scene_close; rm -rf "$scene"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tap_begin "$scene/why"

# The image is kept between runs, until something that goes into it changes.
image()
{
	exec 5> build/debian.lock
	flock 5
	if [ ! -s $image ] || [ -n "$(find "$ROUSE" images/debian packaging/systemd packaging/debian \
		$scene_kernel/version -newer $image)" ]; then
		make --no-print-directory deb && images/debian --deb build/rouse.deb --output $image \
			--package cryptsetup-bin --package dmsetup \
			--kernel-modules "$scene_kernel/lib/modules/$(cat $scene_kernel/version)"
	fi
	image_status=$?
	exec 5>&-
	return $image_status
}

document()
{
	cat << END
{
  "rouse": 1,
  "hostname": "web-{instance.id}",
  "disks": {
    "root": { "device": "root", "partitions": { "/": { "filesystem": "ext4" } } },
    "data": { "device": { "serial": "vol0data" }, "partitions": {
      "/srv/data": { "size": "400MiB", "filesystem": "ext4" },
      "swap": { "size": "64MiB", "filesystem": "swap" },
      "/srv/secret": { "size": "64MiB", "filesystem": "ext4", "luks": { "escrow": { "file": "/etc/keys/secret" } } },
      "/srv/my late": { "filesystem": "ext4", "mountOptions": ["x-systemd.automount"] } } }
  },
  "ssh": { "hostKeys": "instance" },
  "users": { "deploy": { "groups": ["sudo"], "sshKeys": ["$(cat "$scene/key.pub")"] } },
  "files": {
    "/etc/app.conf": { "contents": "token = $secret\n", "mode": "0640" },
    "/etc/sudoers.d/deploy": { "contents": "deploy ALL=(ALL) NOPASSWD: ALL\n", "mode": "0440" }
  },
  "units": {
    "app.service": {
      "enable": true,
      "contents": "[Unit]\nAfter=nginx.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    },
    "listen.service": {
      "enable": true,
      "contents": "[Service]\\nType=forking\\nExecStartPre=/sbin/modprobe vsock_loopback\\nExecStart=/usr/lib/listen 9999 /run/heard\\n[Install]\\nWantedBy=multi-user.target\\n"
    },
    "nginx.service": { "dropIns": { "10-limits.conf": "[Service]\nLimitNOFILE=54321\n" } },
    "unwanted.service": { "mask": true }
  },
  "health": {
    "deadline": "3m",
    "checks": {
      "ssh":   { "tcp": 22 },
      "nginx": { "unit": "nginx.service" },
      "web":   { "http": "http://127.0.0.1/", "contains": "nginx", "answers": { "Content-Type": "text/html" } },
      "file":  { "file": "/etc/app.conf", "contains": "token = " },
      "prog":  { "exec": ["/usr/bin/test", "-d", "/home/deploy"] },
      "plan":  { "planned": true },
      "all":   { "system": "running", "after": ["nginx", "ssh"] }
    },
    "signals": { "ci": { "virtio": "org.rouse.status", "vsock": true }, "cloudInit": {}, "clusterApi": {}, "prometheus": { "file": "/run/rouse.prom" } }
  }
}
END
}

# One boot, from here to the verdict.
boot()
{
	echo '{}' > "$scene/report.json"
	scene_start --nvme "$scene/disk.img,serial=vol0root" --nvme "$scene/data.img,serial=vol0data" --imds "$port_imds" --forward "$port_ssh:22" \
		--qemu -smbios --qemu 'type=11,value=io.systemd.credential:vmm.notify_socket=vsock-stream:1:9999' \
		--append "$(images/debian --root-of "$scene/disk.img") rw systemd.show_status=no" --timeout 330
	scene_wait 300 || { echo "# the console said:"; tail -n 20 "$scene/console" | sed 's/^/#   /'; }
}

in_guest() # COMMAND
{
	timeout 120 ssh -q -i "$scene/key" -p "$port_ssh" -o BatchMode=yes -o ConnectTimeout=60 \
		-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null deploy@127.0.0.1 "$1" < /dev/null
}

# The verdict may be there before the image's own network is.
await_login()
{
	end=$(($(date +%s) + 150))
	until in_guest true; do
		scene_running && [ "$(date +%s)" -lt "$end" ] || return 1
		sleep 1
	done
}

# Shuts down in order, and to the end: the disk is looked at next.
halt()
{
	in_guest 'sudo systemctl --no-block poweroff'
	end=$(($(date +%s) + 90))
	while scene_running && [ "$(date +%s)" -lt "$end" ]; do
		sleep 0.5
	done
	if scene_running; then
		echo "# the machine did not shut down"
		scene_kill
		return 1
	fi
	scene_kill
}

verdict_is() # VERDICT STATUS
{
	ok "$scenario: the verdict on the port is $1" equal "$verdict" "$1"
	ok "$scenario: its status is $2" equal "$(scene_report status)" "$2"
	ok "$scenario: the console says so" contains "$scene/console" "ROUSE-STATE .*state=$1"
}

# Type, start and size of a partition of the disk image, in bytes.
partition() # NUMBER
{
	sfdisk --json "$scene/disk.img" 2> /dev/null | python3 -c '
import json, sys
table = json.load(sys.stdin)["partitiontable"]
for p in table["partitions"]:
    if p["node"].endswith(".img" + sys.argv[1]):
        print(p["type"], p["start"] * 512, p["size"] * 512, p["uuid"])' "$1"
}

# A partition as partition() prints it, when it ends with the disk of 8 GiB.
grown() # TYPE START SIZE UUID
{
	# shellcheck disable=SC2086 # four words
	set -- $1
	echo "$1 $2 $(((8 << 30) - (1 << 20) - $2)) $4"
}

table_is_sound()
{
	sgdisk --verify "$scene/disk.img" | tee "$scene/table" | grep -q '^No problems found' || { cat "$scene/table"; return 1; }
}

# Changes files of the root partition: on_root COMMAND..., of debugfs
on_root()
{
	printf '%s\n' "$@" | debugfs -w -f - "$scene/disk.img?offset=$((262144 * 512))" 2>&1
}

# The worker of the next boot takes all the memory that its unit may have, once
starve()
{
	cat > "$scene/fault.conf" << END
[Service]
Environment=LD_PRELOAD=/usr/lib/fault.so ROUSE_FAULT=memory ROUSE_FAULT_DIR=/run
MemoryMax=128M
MemorySwapMax=0
END
	on_root "write $scene/fault.so /usr/lib/fault.so" 'mkdir /etc/systemd/system/rouse.service.d' \
		"write $scene/fault.conf /etc/systemd/system/rouse.service.d/50-fault.conf" > "$scene/debugfs"
}

# What comes of the machine that holds, after its document was put right; it may fail once more with what was
# wrong before.
healed()
{
	scene_told=$(grep -c '"event": *"report"' "$scene/status")
	document | sed "s/token = /healed = /g" > "$scene/user-data"
	until=$(($(date +%s) + 150)) verdict=failed
	while [ "$verdict" = failed ]; do
		scene_wait $((until - $(date +%s))) || return
		scene_told=$((scene_told + 1))
	done
}

root_is_clean()
{
	e2fsck -fn "$scene/disk.img?offset=$((262144 * 512))"
}

# The checks that passed, in the order of their names.
scene_checks()
{
	python3 -c '
import json, sys
print(*sorted(c["name"] for c in json.load(open(sys.argv[1]))["checks"] if c["ok"]))' "$scene/report.json"
}

# What is mounted only for who comes, and the swap
automount_works()
{
	in_guest 'systemctl is-active "srv-my\x20late.automount" && ! systemctl is-active "srv-my\x20late.mount" &&
		sudo touch "/srv/my late/kept" && systemctl is-active "srv-my\x20late.mount" &&
		grep -q ^/dev/nvme /proc/swaps && systemctl is-active swap.target'
}

# Nobody but root finds the secret, and the agent repeated it nowhere.
secret_is_kept()
{
	! grep -l "$secret" "$scene/status" "$scene/report.json" "$scene/console" || return 1
	! in_guest "grep -rl '$secret' /run /etc /var/lib/rouse 2> /dev/null" || return 1
	! in_guest "sudo journalctl -b -o cat | grep -v COMMAND= | grep '$secret'"
}

secret=$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
image=build/debian/debian.img
if ! {
	make --no-print-directory -j"$(nproc)" build/rouse && images/kernel --dir $scene_kernel && image &&
		${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O1 -shared -fPIC -o "$scene/fault.so" tests/boot/init/fault.c &&
		${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O1 -static -o "$scene/listen" tests/boot/init/listen.c &&
		scene_ports && ssh-keygen -q -t ed25519 -N '' -C test -f "$scene/key"
} > "$scene/prepare.log" 2>&1; then
	tail -n 20 "$scene/prepare.log" | sed 's/^/# /'
	printf '1..1\nnot ok 1 - %s\n' 'cannot make the image'
	exit 1
fi
document > "$scene/user-data"
scene_open_imds > "$scene/imds.out" 2>&1 || { printf '1..1\nnot ok 1 - %s\n' 'no metadata service'; exit 1; }
cp --sparse=always $image "$scene/disk.img"
truncate -s 8G "$scene/disk.img"
truncate -s 1G "$scene/data.img"
# A host key that all machines of the image would have
ssh-keygen -q -t ed25519 -N '' -C baked -f "$scene/baked"
on_root "write $scene/listen /usr/lib/listen" 'set_inode_field /usr/lib/listen mode 0100755' \
	"write $scene/baked /etc/ssh/ssh_host_ed25519_key" 'set_inode_field /etc/ssh/ssh_host_ed25519_key mode 0100600' \
	"write $scene/baked.pub /etc/ssh/ssh_host_ed25519_key.pub" > "$scene/debugfs"
others=$(partition 14)$(partition 15)
root_before=$(partition 1)

scenario='first boot'
boot
verdict_is ready 0
await_login
ok "$scenario: a person can log in with the key of the document" equal "$(in_guest 'id -un')" deploy
ok "$scenario: the host name is the document's" equal "$(in_guest 'cat /etc/hostname /proc/sys/kernel/hostname' | uniq)" \
	web-i-0abc123def4567890
host_key=$(in_guest 'cat /etc/ssh/ssh_host_ed25519_key.pub')
ok "$scenario: its host keys are not those of the image" equal "$(in_guest 'sudo cat /var/lib/rouse/host-keys
	ls /etc/ssh | grep -c "^ssh_host_.*_key$"; grep -l baked /etc/ssh/*.pub' | tr '\n' ' ')$(echo "$host_key" | cut -d ' ' -f 1)" \
	'i-0abc123def4567890 3 ssh-ed25519'
echo "$host_key" > "$scene/host_key.pub"
ok "$scenario: the console has their fingerprints" contains "$scene/console" "^$(ssh-keygen -l -f "$scene/host_key.pub")"
ok "$scenario: the file has its contents and its mode" equal \
	"$(in_guest 'sudo cat /etc/app.conf; sudo stat -c "%a %U" /etc/app.conf' | tr '\n' ' ')" "token = $secret 640 root "
ok "$scenario: the mounted root filesystem has the whole disk" \
	test "$(in_guest 'df --block-size=1M --output=size / | tail -n 1' | tr -d ' ')" -gt 7500
ok "$scenario: the secret of the document is nowhere else" secret_is_kept
ok "$scenario: the blank volume is mounted, and in fstab" in_guest '
	mountpoint -q /srv/data && grep -q "^UUID=[^ ]* /srv/data ext4 .*x-rouse" /etc/fstab && sudo touch /srv/data/kept'
ok "$scenario: the encrypted volume is mounted, and its key is for root" in_guest '
	mountpoint -q /srv/secret && sudo touch /srv/secret/kept && test "$(sudo stat -c %a:%U /etc/keys/secret)" = 600:root'
ok "$scenario: an automount is a mount until systemd knows it" in_guest 'mountpoint -q "/srv/my late" && grep ^/dev/nvme /proc/swaps'
ok "$scenario: systemd found no cycle in the order of units" equal \
	"$(in_guest 'sudo journalctl -b -o cat | grep -ci "ordering cycle"')" 0
ok "$scenario: the units are as systemd wants them" equal \
	"$(in_guest 'SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no rouse.service rouse-health.service 2>&1')" ''
# shellcheck disable=SC2016 # the guest expands these
ok "$scenario: everything ordinary starts behind the agent" in_guest '
	[ "$(systemctl show -P ExecMainExitTimestampMonotonic rouse)" -lt "$(systemctl show -P ActiveEnterTimestampMonotonic sysinit.target)" ] &&
	[ "$(systemctl show -P ExecMainExitTimestampMonotonic rouse)" -lt "$(systemctl show -P ExecMainStartTimestampMonotonic ssh)" ]'
ok "$scenario: a unit of the document was started by this boot" equal "$(in_guest 'systemctl is-active app; systemctl is-enabled app unwanted' | tr '\n' ' ')" \
	'active enabled masked '
ok "$scenario: a drop-in of the document counts in this boot" equal "$(in_guest 'systemctl show -P LimitNOFILE nginx')" 54321
ok "$scenario: the units succeeded" equal "$(in_guest 'systemctl is-active rouse rouse-health' | uniq)" active
ok "$scenario: every kind of check passed" equal "$(scene_checks)" 'all file nginx plan prog ssh web'
ok "$scenario: who waits for cloud-init finds its files" equal \
	"$(in_guest 'cat /run/cloud-init/result.json /run/cluster-api/bootstrap-success.complete; test -s /var/lib/cloud/instance/boot-finished && echo .' | tr -d ' \n')" \
	'{"v1":{"datasource":"DataSourceEc2","errors":[]}}success.'
in_guest 'cat /run/heard' > "$scene/heard"
ok "$scenario: the host hears of it over vsock, in systemd's protocol" equal "$(sed 1d "$scene/heard" | tr '\n' '|')" \
	'X_ROUSE_STATE=ready|X_ROUSE_INSTANCE=i-0abc123def4567890|X_ROUSE_REASON=|STATUS=rouse: ready|READY=1|'
ok "$scenario: … from a port that only root has" contains "$scene/heard" '^from 1:\([6-9]..\|5[1-9].\|10..\)$'
ok "$scenario: metrics are written" in_guest "grep -q '^rouse_verdict{verdict=\"ready\"} 1' /run/rouse.prom"
ok "$scenario: the journal has fields" in_guest '
	sudo journalctl -b -u rouse -o json | grep ROUSE_PHASE | grep -q "\"ROUSE_COMPONENT\":\"disks\"" &&
	sudo journalctl -b MESSAGE_ID=8b0f8a3d6c1e4c7f9a52d1b4e6730c95 -o json | grep -q "\"ROUSE_VERDICT\":\"ready\""'
ok "$scenario: the console has what the journal has" contains "$scene/console" 'rouse: plan: '
ok "$scenario: the verdict outlives a reload of the units" in_guest '
	sudo systemctl daemon-reload && systemctl is-active rouse-health && /usr/sbin/rouse status > /dev/null'
ok "$scenario: a boot is good after the verdict" in_guest '
	sudo systemctl start boot-complete.target && systemctl is-active boot-complete.target'
ok "$scenario: no unit of the machine failed" equal "$(in_guest 'systemctl --failed --no-legend --plain')" ''
ok "$scenario: the image's own network took over" equal \
	"$(in_guest 'ip -4 route show default | wc -l; networkctl list --no-legend | grep -c routable' | tr '\n' ' ')" '1 1 '
in_guest '/usr/sbin/rouse status' > "$scene/status.txt" 2>&1
ok "$scenario: 'rouse status' says ready" contains "$scene/status.txt" ready
in_guest '/usr/sbin/rouse analyze' > "$scene/analyze.txt" 2>&1
ok "$scenario: 'rouse analyze' knows the phases" contains "$scene/analyze.txt" apply
echo "# $scenario: agent CPU $(in_guest 'systemctl show -P CPUUsageNSec rouse') ns, health $(in_guest 'systemctl show -P CPUUsageNSec rouse-health') ns"
ok "$scenario: the machine shuts down" halt
ok "$scenario: the partition table is sound" table_is_sound
ok "$scenario: root grew to the end of the disk, and stayed what it is" equal "$(partition 1)" \
	"$(grown "$root_before")"
ok "$scenario: the other partitions are as they were" equal "$(partition 14)$(partition 15)" "$others"
ok "$scenario: the root filesystem is clean" root_is_clean
sfdisk --dump "$scene/disk.img" > "$scene/table.1"

scenario='second boot, with too little memory for its first try'
ok "$scenario: it can be set" starve
boot
verdict_is ready 0
ok "$scenario: the console has what became of the worker" contains "$scene/console" "the agent ran out of memory, in phase 'source'"
ok "$scenario: it was tried again" equal "$(scene_report crashes)" 1
ok "$scenario: nothing was changed" equal "$(scene_report changes)" 0
await_login
ok "$scenario: its host keys are the same" equal "$(in_guest 'cat /etc/ssh/ssh_host_ed25519_key.pub')" "$host_key"
ok "$scenario: it is the same machine" equal "$(in_guest 'cat /proc/sys/kernel/hostname')" web-i-0abc123def4567890
echo "# $scenario: agent CPU $(in_guest 'systemctl show -P CPUUsageNSec rouse') ns, health $(in_guest 'systemctl show -P CPUUsageNSec rouse-health') ns"
ok "$scenario: an automount waits, and mounts for who comes" automount_works
ok "$scenario: to systemd, the unit has succeeded" equal "$(in_guest 'systemctl show -P Result -P ExecMainStatus rouse' | tr '\n' ' ')" 'success 0 '
in_guest 'sudo rm /etc/systemd/system/rouse.service.d/50-fault.conf; echo "{ \"holdPoll\": \"5s\" }" | sudo tee /etc/rouse/agent.json' > /dev/null
ok "$scenario: the agent opens what is encrypted, and systemd knows what else would" in_guest '
	test -e /srv/secret/kept && systemctl is-active srv-secret.mount && ! systemctl is-active rouse-open-srv-secret &&
	systemctl show -P ConditionResult rouse-open-srv-secret | grep no &&
	systemctl show -P Requires srv-secret.mount | grep -F rouse-open-srv-secret.service'
# As an image would be that has no fstab
ok "$scenario: without an fstab, the mounts are kept as units" in_guest '
	sudo mv /etc/fstab /etc/fstab.away && sudo /usr/sbin/rouse apply --yes --only disks /run/rouse/document.json &&
	test -e /etc/systemd/system/srv-data.mount && sudo /usr/sbin/rouse plan --only disks /run/rouse/document.json | grep "nothing to change" &&
	systemd-analyze verify --man=no "/etc/systemd/system/srv-my\x20late.automount" /etc/systemd/system/srv-secret.mount'
ok "$scenario: the machine shuts down" halt
sfdisk --dump "$scene/disk.img" > "$scene/table.2"
ok "$scenario: the partition table is the same" cmp "$scene/table.1" "$scene/table.2"

scenario='broken document'
document | sed 's/"hostname"/"hostnme"/' > "$scene/user-data"
boot
verdict_is failed 78
ok "$scenario: the reason names line, column and key" contains "$scene/report.json" 'user-data:3:[0-9]*:.*hostnme'
ok "$scenario: a person can log in with the key of an earlier boot" await_login
ok "$scenario: systemctl knows the status" equal \
	"$(in_guest 'systemctl show -P Result -P ExecMainStatus rouse' | tr '\n' ' ')" 'exit-code 78 '
ok "$scenario: 'systemctl status' shows the reason" in_guest \
	'sudo systemctl status rouse | grep "verdict: failed: .*hostnme"'
ok "$scenario: the boot went on" equal "$(in_guest 'systemctl is-active multi-user.target ssh nginx serial-getty@ttyS0' | uniq)" active
ok "$scenario: the console asks for a login" contains "$scene/console" 'login:'
ok "$scenario: the volume is mounted without the agent, and without an fstab" in_guest '
	! test -e /etc/fstab && mountpoint -q /srv/data && test -e /srv/data/kept &&
	systemctl show -P FragmentPath srv-data.mount | grep -q ^/etc/systemd/system/ && systemctl is-active "systemd-fsck@*.service"'
ok "$scenario: so are the automount and the swap" automount_works
ok "$scenario: so is the encrypted volume, which systemd opens" in_guest '
	systemctl is-active rouse-open-srv-secret && mountpoint -q /srv/secret && test -e /srv/secret/kept'
ok "$scenario: systemd found no cycle in the order of units" equal \
	"$(in_guest 'sudo journalctl -b -o cat | grep -ci "ordering cycle"')" 0
ok "$scenario: the machine is as it was" equal "$(in_guest 'cat /proc/sys/kernel/hostname; sudo cat /etc/app.conf' | tr '\n' ' ')" \
	"web-i-0abc123def4567890 token = $secret "
ok "$scenario: it is held" equal "$(scene_report action) $(scene_report fault)" 'hold fleet'
started=$(in_guest 'cat /proc/sys/kernel/random/boot_id')
scenario='the same machine, and the document is put right'
healed
verdict_is ready 0
ok "$scenario: the document was applied, without a reboot" equal "$(in_guest 'sudo cat /etc/app.conf; cat /proc/sys/kernel/random/boot_id' | tr '\n' ' ')" \
	"healed = $secret $started "
ok "$scenario: the health unit is done, and well" in_guest 'until [ "$(systemctl is-active rouse-health)" != activating ]; do sleep 1; done; systemctl is-active rouse-health'
ok "$scenario: the machine shuts down" halt
ok "$scenario: the root filesystem is clean" root_is_clean

tap_end
