# SPDX-License-Identifier: Apache-2.0
# The agent, for `pkgs.callPackage ./package.nix { }`; module.nix takes it when nobody names another one.
{
  lib, stdenv, pkg-config,
  brotli, bzip2, curl, e2fsprogs, jansson, kmod, openssl, util-linux, xz, zlib, zstd,
}:
let
  is_built = path: type: type == "directory" && baseNameOf path == "build";
in
stdenv.mkDerivation {
  pname = "rouse";
  version = "0.1.0";
  src = lib.cleanSourceWith {
    src = lib.cleanSource ../..;
    filter = path: type: !is_built path type;
  };
  nativeBuildInputs = [ pkg-config ];
  buildInputs = [ brotli bzip2 curl e2fsprogs jansson kmod openssl util-linux xz zlib zstd ];

  # glibc loads it by name when a thread is cancelled, which is too late for who copies what a program needs.
  NIX_LDFLAGS = "--push-state --no-as-needed -lgcc_s --pop-state";
  # No clock is believed that says it is earlier, and files of the store have no date: the day of this version.
  SOURCE_DATE_EPOCH = 1795737600; # 2026-11-27
  postPatch = "patchShebangs packaging tests";
  enableParallelBuilding = true;
  makeFlags = [
    "PREFIX=${placeholder "out"}"
    "SBINDIR=${placeholder "out"}/bin"
    "UNITDIR=${placeholder "out"}/lib/systemd/system"
    "SYSCONFDIR=${placeholder "out"}/etc"
  ];
  doInstallCheck = true;
  installCheckPhase = "$out/bin/rouse --version";

  meta = {
    description = "Provisions a cloud machine while it boots";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "rouse";
  };
}
