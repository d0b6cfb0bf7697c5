# SPDX-License-Identifier: Apache-2.0
#
# The system of closure.nix once more, in which nginx does not start.
{ debs }:
derivation {
  name = "rouse-demo-system-2";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-eu" ./second.sh ];
  PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
  LC_ALL = "C";
  first = import ./closure.nix { inherit debs; };
}
