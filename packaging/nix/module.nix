# SPDX-License-Identifier: Apache-2.0
#
# NixOS module: a machine whose image holds the agent (services.rouse.enable), and one whose systemd
# initrd does (services.rouse.initrd.enable), where the system to start comes from the document, and not
# from init= of the kernel's command line. It is evaluated in tests/cases/nix.sh with the few functions
# of nixpkgs' lib that it uses; no NixOS was built with it there.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.rouse;
  rouse = "${cfg.package}/bin/rouse";
  settings = pkgs.writeText "agent.json" (builtins.toJSON cfg.settings);
in
{
  options.services.rouse = {
    enable = lib.mkEnableOption "provisioning of this machine from its document by rouse";
    initrd.enable = lib.mkEnableOption "rouse in the systemd initrd, which makes the root";
    package = lib.mkOption {
      type = lib.types.package;
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
      # Whoever may write it owns the machine: a copy, as links are refused.
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

    (lib.mkIf cfg.initrd.enable {
      boot.initrd.systemd = {
        enable = true;
        storePaths = [ "${cfg.package}" "${pkgs.dosfstools}" "${pkgs.cacert}" ];
        contents."/etc/rouse/agent.json".source = settings;
        contents."/etc/ssl/certs/ca-certificates.crt".source = "${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";

        services.rouse-initrd = {
          description = "Provision this machine from its document (rouse, initrd)";
          unitConfig = {
            DefaultDependencies = false;
            ConditionKernelCommandLine = "!rouse=off";
          };
          after = [ "sysinit.target" "basic.target" "systemd-udevd.service" "systemd-udev-trigger.service" ];
          before = [
            "sysroot.mount"
            "initrd-root-fs.target"
            "initrd-parse-etc.service"
            "initrd-find-nixos-closure.service"
            "initrd-switch-root.target"
            "shutdown.target"
          ];
          conflicts = [ "shutdown.target" "initrd-switch-root.target" ];
          requiredBy = [ "initrd-root-fs.target" ];
          path = [ pkgs.dosfstools ];
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = "${rouse} boot --initrd";
            OOMPolicy = "continue";
            Restart = "on-abnormal";
            RestartSec = "2s";
            TimeoutStartSec = "infinity";
          };
        };

        # These take the system from init=. The agent tells initrd-switch-root.service which one it is,
        # and its prepare-root activates it when it has become the root.
        services.initrd-find-nixos-closure.enable = false;
        services.initrd-nixos-activation.enable = false;
      };
    })
  ];
}
