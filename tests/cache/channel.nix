# SPDX-License-Identifier: Apache-2.0
# Packages and systems as a channel would have them, without nixpkgs: /bin/sh of the host builds.
let
  build = name: content: builtins.derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-ec" "PATH=/bin:/usr/bin; mkdir -p $out/bin; echo '${content}' >$out/bin/x" ];
  };
  lib = build "lib-1.0" "shared";
  package = name: build name "${lib} ${name}";
in
rec {
  inherit lib;
  htop1 = package "htop-3.2.2";
  htop2 = package "htop-3.3.0";
  pg15 = package "postgresql-15.7";
  pg16a = package "postgresql-16.3";
  pg16b = package "postgresql-16.10";
  pgjit = package "postgresql-16.10-jit";
  curlbin = package "curl-8.7.1-bin";
  curl = package "curl-8.7.1";
  other = build "htop-3.3.0" "of another platform";
  unsigned = package "unsigned-1";
  system1 = build "nixos-system-web-24.05.1" "${htop1} ${pg15}";
  system2 = build "nixos-system-web-24.05.2" "${htop2} ${pg16a}";
  db = build "nixos-system-db-24.05.2" "${pg16a}";
}
