# SPDX-License-Identifier: Apache-2.0
#
# NixOS module: a machine whose image holds the agent (services.rouse.enable), and one whose initrd does
# (services.rouse.initrd.enable; see initrd.nix). tests/cases/nix.sh evaluates it with the few functions of
# nixpkgs' lib that it uses, and tests/boot/initrd.sh boots what it says of both kinds of stage 1.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.rouse;
  rouse = "${cfg.package}/bin/rouse";
  settings = pkgs.writeText "agent.json" (builtins.toJSON cfg.settings);
in
{
  imports = [ ./initrd.nix ];

  options.services.rouse = {
    enable = lib.mkEnableOption "provisioning of this machine from its document by rouse";
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      description = "The package of rouse.";
    };
    settings = lib.mkOption {
      type = lib.types.attrs;
      default = { };
      description = "What is in /etc/rouse/agent.json.";
    };
  };

  config = lib.mkMerge [
    (lib.mkIf (cfg.enable || cfg.initrd.enable) {
      environment.systemPackages = [ cfg.package ];
      # Whoever may write it owns the machine: a copy, which `nixos-rebuild` alone changes.
      environment.etc."rouse/agent.json" = {
        source = settings;
        mode = "0644";
      };

      systemd.services.rouse-health = {
        description = "Health of this boot (rouse)";
        unitConfig = {
          DefaultDependencies = false;
          ConditionPathExists = "/run/rouse/report.json";
        };
        after = [ "rouse.service" "rouse-activate.service" ];
        before = [ "boot-complete.target" "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        wantedBy = [ "multi-user.target" ];
        requiredBy = [ "boot-complete.target" ];
        restartIfChanged = false;
        stopIfChanged = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${rouse} health --hold";
          SuccessExitStatus = 3;
          TimeoutStartSec = "26h";
          OOMPolicy = "continue";
        };
      };
    })

    (lib.mkIf cfg.enable {
      systemd.services.rouse = {
        description = "Provision this machine from its document (rouse)";
        unitConfig = {
          DefaultDependencies = false;
          ConditionKernelCommandLine = "!rouse=off";
          RequiresMountsFor = "/etc/rouse /run/rouse /var/lib/rouse /nix";
        };
        after = [ "systemd-remount-fs.service" "systemd-modules-load.service" "systemd-udevd.service" ];
        wants = [ "network-pre.target" ];
        before = [ "network-pre.target" "sysinit.target" "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        wantedBy = [ "sysinit.target" ];
        restartIfChanged = false;
        stopIfChanged = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${rouse} boot";
          NotifyAccess = "all";
          SuccessExitStatus = 3;
          TimeoutStartSec = "45min";
          OOMPolicy = "continue";
        };
      };

      # rouse.service starts it where the document wants another system than the running one.
      systemd.services.rouse-activate = {
        description = "Activate the system of this machine's document (rouse)";
        unitConfig = {
          JobTimeoutSec = "10min";
          X-StopOnRemoval = false;
        };
        after = [ "rouse.service" "multi-user.target" ];
        before = [ "rouse-health.service" ];
        restartIfChanged = false;
        stopIfChanged = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${rouse} boot --activate";
          TimeoutStartSec = "6min";
        };
      };
    })
  ];
}
