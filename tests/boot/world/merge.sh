# SPDX-License-Identifier: Apache-2.0
#
# Builder of the tree that becomes /usr: links to the programs of $parts, in the places where Debian's
# binaries look for them.

mkdir -p "$out"
for part in $parts; do
	for d in bin sbin lib/systemd lib/security lib/openssh; do
		[ -d "$part/$d" ] || continue
		mkdir -p "$out/$d"
		cp -as "$part/$d/." "$out/$d/"
	done
done
# systemd does not follow links to units that leave its search path
rm -rf "$out/lib/systemd/system"
for part in $systemd $units; do
	cp -r --no-preserve=mode "$part/lib/systemd/system" "$out/lib/systemd/"
done
cp -a "$out/sbin/." "$out/bin/"
rm -rf "$out/sbin"
ln -s bin "$out/sbin"

# libpam looks here for its modules, and programs that were not made for the store for the loader
mkdir -p "$out/lib/x86_64-linux-gnu" "$out/lib64"
ln -s ../security "$out/lib/x86_64-linux-gnu/security"
ln -s "$glibc/lib/ld-linux-x86-64.so.2" "$out/lib64/ld-linux-x86-64.so.2"
