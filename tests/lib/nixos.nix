# SPDX-License-Identifier: Apache-2.0
# What packaging/nix/module.nix says of a machine, evaluated with the few functions of nixpkgs' lib that it
# uses: for nix-instantiate --eval --strict --json --read-write-mode. A package is a path below `packages`.
{
  enable ? false,
  initrd ? false,
  systemd ? true,
  packages ? "",
  x86 ? true,
  programs ? { },
  settings ? { document = "/etc/web.json"; },
}:
let
  lib = {
    mkEnableOption = text: { default = false; inherit text; };
    mkOption = x: x;
    mkIf = yes: x: if yes then x else { };
    mkMerge = builtins.foldl' merge { };
    mkAfter = x: x;
    mkDefault = x: x;
    types = { package = "package"; attrs = "attrs"; str = "str"; attrsOf = t: t; };
    inherit (builtins) attrNames attrValues concatMap;
    optionals = yes: list: if yes then list else [ ];
    concatStrings = builtins.concatStringsSep "";
  };
  merge = a: b: a // builtins.mapAttrs
    (k: v: if a ? ${k} && builtins.isAttrs v && builtins.isAttrs a.${k} then merge a.${k} v else v) b;
  args = {
    inherit lib;
    config = {
      boot.initrd.systemd.enable = systemd;
      services.rouse = {
        inherit enable settings;
        package = "${packages}/rouse";
        initrd.enable = initrd;
        initrd.programs =
          (import ../../packaging/nix/initrd.nix args).options.services.rouse.initrd.programs.default // programs;
      };
    };
    pkgs = {
      writeText = name: text: builtins.toFile name text;
      dosfstools = "${packages}/dosfstools";
      cacert = "${packages}/cacert";
      stdenv.hostPlatform.isx86 = x86;
    };
  };
  module = import ../../packaging/nix/module.nix args;
  modules = [ module ] ++ map (file: import file args) module.imports;
in
lib.mkMerge (map (m: m.config) modules)
// { options = builtins.attrNames (lib.mkMerge (map (m: m.options.services.rouse) modules)); }
