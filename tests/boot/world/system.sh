# SPDX-License-Identifier: Apache-2.0
#
# Builder of the closure's root, laid out as NixOS does it.

mkdir -p "$out"
ln -s "$etc" "$out/etc"
ln -s "$sw" "$out/sw"
cp -r "$accounts" "$out/accounts"
ln -s "$systemd" "$out/systemd"
echo "$release" > "$out/nixos-version"
printf x86_64-linux > "$out/system"
sed -e "1s,.*,#!$dash/bin/dash," -e "s,@out@,$out,g" -e "s,@sw@,$sw,g" -e "s,@systemd@,$systemd,g" "$init" > "$out/init"
chmod 555 "$out/init"
