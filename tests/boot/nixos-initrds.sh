# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154,SC2317 # $dir, $kernel and $version are the reader's
# The two kinds of initrd that a NixOS with packaging/nix/module.nix has, out of what the module says and of
# programs of this machine; to be read by tests/boot/initrd.sh.
#
#   nixos_systemd IMAGE OUT     over an initrd with systemd
#   nixos_scripted OUT

# The packages that the module names, in a store of their own, and what it says then, as JSON.
nixos_evaluate() # SYSTEMD > JSON
{
	store=$dir/nixos/nix/store packages=/nix/store/2y1k0y6q4m0kq9m8n7b6v5c4x3z2a1s0-packages
	mkdir -p "$store/${packages##*/}/rouse/bin" "$store/${packages##*/}/dosfstools/bin" \
		"$store/${packages##*/}/cacert/etc/ssl/certs" &&
		cp "$dir/stage/usr/sbin/rouse" "$store/${packages##*/}/rouse/bin/" &&
		cp "$(command -v mkfs.fat)" "$store/${packages##*/}/dosfstools/bin/" &&
		cp /etc/ssl/certs/ca-certificates.crt "$store/${packages##*/}/cacert/etc/ssl/certs/ca-bundle.crt" || return
	NIX_REMOTE="$dir/nixos" NIX_CONF_DIR="$dir" HOME="$dir" NIX_PATH='' nix-instantiate --eval --strict --json \
		--read-write-mode --arg initrd true --arg systemd "$1" --argstr packages $packages \
		--arg settings '{ document = "/etc/rouse/web.json"; }' tests/lib/nixos.nix
}

nixos_pack() # TREE
{
	(cd "$1" && find . | cpio --quiet -o -H newc)
}

nixos_systemd()
{
	tree=$dir/nixos-systemd
	mkdir -p "$tree" && zstd -dc "$1" | (cd "$tree" && cpio --quiet -idm) && mkdir -p "$tree/nix" "$tree/usr/bin" &&
		nixos_evaluate true > "$dir/nixos.json" && cp -a "$dir/nixos/nix/store" "$tree/nix/" &&
		python3 tests/boot/nixos.py "$dir/nixos.json" "$tree" || return
	# NixOS has nothing of dracut's
	for hook in cmdline pre-udev pre-trigger initqueue pre-mount mount pre-pivot shutdown; do
		ln -sf /dev/null "$tree/etc/systemd/system/dracut-$hook.service"
	done
	rmdir "$tree/sysroot" && nixos_pack "$tree" | zstd -q -3 > "$2"
}

# One string of what the module says
nixos_said() # PATH > TEXT
{
	python3 -c 'import functools, json, sys
value = functools.reduce(lambda a, k: a[k], sys.argv[2].split("."), json.load(open(sys.argv[1])))
print(value if isinstance(value, str) else " ".join(value))' "$dir/nixos.json" "$1"
}

# Its programs, as stage-1.nix has them: each with its libraries, and nothing of the rest of the store.
nixos_extra_utils() # TREE
{
	out=/nix/store/1q0w9e8r7t6y5u4i3o2p1a0s9d8f7g6h-extra-utils
	at=$1$out
	mkdir -p "$at/bin" "$at/lib" && cp "$(command -v busybox)" "$at/bin/" || return
	for applet in ash cat find grep ln mkdir modprobe mount readlink sed sh sleep switch_root touch umount; do
		ln -s busybox "$at/bin/$applet"
	done
	# The commands know of a store that is the tree's
	nixos_said boot.initrd.extraUtilsCommands > "$dir/commands" &&
		(
			copy_bin_and_libs() # STORE PROGRAM
			{
				cp -pd "$1$2" "$at/bin/"
			}
			sed "s,^copy_bin_and_libs ,&'$dir/nixos' ," "$dir/commands" > "$dir/commands.here"
			# shellcheck source=/dev/null
			. "$dir/commands.here"
		) || return
	for bin in rouse mkfs.fat; do
		ldd "$at/bin/$bin" | sed -n 's/.* => \(\/[^ ]*\).*/\1/p' | xargs cp -Lt "$at/lib" &&
			cp -L "$(patchelf --print-interpreter "$at/bin/$bin")" "$at/lib/ld.so.2" &&
			patchelf --set-interpreter $out/lib/ld.so.2 --set-rpath $out/lib "$at/bin/$bin" || return
	done
	chroot "$1" $out/bin/ash -ec "out=$out; export LD_LIBRARY_PATH=$out/lib; $(nixos_said boot.initrd.extraUtilsCommandsTest)"
}

nixos_modules() # TREE
{
	mkdir -p "$1/lib/modules/$version" && cp "$kernel/lib/modules/$version"/modules.[bo]* "$1/lib/modules/$version/" || return
	for module in $(nixos_said boot.initrd.availableKernelModules) $(nixos_said boot.initrd.kernelModules); do
		modprobe -d "$PWD/$kernel" -S "$version" --show-depends "$module" 2> "$dir/no-module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
		(cd "$kernel" && cp --parents "lib/${file#*/lib/}" "$1/")
	done
	depmod -b "$1" "$version"
}

nixos_scripted()
{
	tree=$dir/nixos-scripted
	mkdir -p "$tree/nix" "$tree/etc/rouse" && nixos_evaluate false > "$dir/nixos.json" &&
		cp -a "$dir/nixos/nix/store" "$tree/nix/" && cp "$dir/stage/etc/rouse/web.json" "$tree/etc/rouse/" &&
		nixos_extra_utils "$tree" && nixos_modules "$tree" &&
		nixos_said boot.initrd.postMountCommands > "$dir/commands" || return
	sed -e "s,@shell@,$out/bin/ash," -e "s,@extraUtils@,$out," \
		-e "s,@kernelModules@,$(nixos_said boot.initrd.kernelModules)," \
		-e "s,@rootType@,$(nixos_said fileSystems./.fsType)," -e "s,@rootDevice@,$(nixos_said fileSystems./.device)," \
		-e "/@postMountCommands@/{r $dir/commands" -e 'd;}' tests/boot/init/nixos-stage-1 > "$tree/init" &&
		chmod +x "$tree/init" && nixos_pack "$tree" | zstd -q -3 > "$1"
}
