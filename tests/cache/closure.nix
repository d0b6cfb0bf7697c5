# SPDX-License-Identifier: Apache-2.0
# A closure of several paths that reference each other, without nixpkgs: /bin/sh of the host builds.
{ units ? 60, parts ? 0 }:
let
  build = name: script: builtins.derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-ec" ''
      PATH=/bin:/usr/bin
      ${script}
    '' ];
  };
  range = n: builtins.genList (i: i) n;
  unit = i: build "unit-${toString i}.service" ''
    echo "[Service]" >$out
    echo "ExecStart=${app}/bin/app ${toString i}" >>$out
  '';
  # Of those, no worker has the memory to unpack all at once.
  part = i: build "part-${toString i}" ''
    dd if=/dev/urandom of=$out bs=1M count=${toString (2 + i)} 2>/dev/null
  '';
  # Larger than any buffer or window, and not compressible.
  lib = build "lib-1.0" ''
    mkdir -p $out/lib/deep/er/and/deeper
    dd if=/dev/urandom of=$out/lib/random bs=1M count=9 2>/dev/null
    dd if=/dev/zero of=$out/lib/zero bs=1M count=20 2>/dev/null
    : >$out/lib/empty
    mkdir $out/lib/no-entries
    ln -s random $out/lib/librandom.so
    ln -s /does/not/exist $out/lib/dangling
    echo "$out/lib" >$out/lib/self
    for n in 1 2 3 4 5 6 7 8; do echo 12345678 | cut -c -$n | tr -d '\n' >$out/lib/deep/er/and/deeper/$n; done
  '';
  names = build "odd-names" ''
    mkdir $out
    echo a >"$out/with blank"
    echo b >"$out/$(printf 'new\nline')"
    echo c >"$out/$(printf 'not-utf8-\377')"
    echo d >"$out/..."
    echo e >"$out/-rf"
    echo f >"$out/\$(reboot)"
    echo g >"$out/~nix~case~hack~1"
  '';
  app = build "app-2.1" ''
    mkdir -p $out/bin
    echo "#!/bin/sh" >$out/bin/app
    echo "cat ${lib}/lib/self ${names}/..." >>$out/bin/app
    chmod +x $out/bin/app
  '';
  link = build "link" ''ln -s ${app}/bin/app $out'';
  text = builtins.toFile "text" "built without a builder\n";
in
build "nixos-system-test-24.05" ''
  mkdir -p $out/etc
  ln -s ${app}/bin/app $out/init
  ln -s ${link} $out/link
  cp ${text} $out/etc/copy
  echo ${text} >$out/etc/text
  for unit in ${toString (map unit (range units))}; do ln -s $unit $out/etc/; done
  for part in ${toString (map part (range parts))}; do echo $part >>$out/etc/parts; done
''
