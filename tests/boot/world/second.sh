# SPDX-License-Identifier: Apache-2.0
#
# Builder of a system that is like $first but for one unit, which fails.

mkdir -p "$out"
for part in etc sw accounts systemd nixos-version system; do
	ln -s "$first/$part" "$out/$part"
done
{
	head -n 1 "$first/init"
	cat << END
set -eu
unit=/run/systemd/system/nginx.service.d
$first/sw/bin/mkdir -p \$unit
printf '[Service]\nExecStartPre=\nExecStart=\nExecStart=/usr/bin/false\n' > \$unit/broken.conf
exec $first/init "\$@"
END
} > "$out/init"
chmod 555 "$out/init"
