# SPDX-License-Identifier: Apache-2.0
#
# NixOS module: the agent in stage 1 makes or grows the root, and the system to start comes from the document,
# not from init= of the kernel's command line. Of both kinds: with systemd (boot.initrd.systemd.enable), and
# scripted. One initrd then serves every fleet.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.rouse;
  rouse = "${cfg.package}/bin/rouse";
  settings = pkgs.writeText "agent.json" (builtins.toJSON cfg.settings);
  certificates = "${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";
  with_systemd = config.boot.initrd.systemd.enable;
  # What the kernel needs for what a program makes
  modules = {
    "mkfs.btrfs" = [ "btrfs" ];
    "mkfs.f2fs" = [ "f2fs" ];
    lvm = [ "dm-snapshot" "dm-thin-pool" "dm-raid" ];
    mdadm = [ "md_mod" "raid0" "raid1" "raid10" "raid456" ];
    cryptsetup = [ "dm_crypt" "cryptd" "aes" "xts" "sha256" "sha512" "af_alg" "algif_skcipher" ];
  };
  if_off.unitConfig.ConditionKernelCommandLine = "rouse=off";
in
{
  options.services.rouse.initrd = {
    enable = lib.mkEnableOption "rouse in the initrd, which makes the root";
    programs = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default."mkfs.fat" = "${pkgs.dosfstools}/bin/mkfs.fat";
      description = ''
        What the agent may have to run in the initrd, by name: mkfs.fat, mkfs.xfs, mkfs.btrfs, lvm, mdadm,
        cryptsetup. What makes and grows ext4 and swap is in the agent itself.
      '';
    };
  };

  config = lib.mkMerge [
    (lib.mkIf cfg.initrd.enable {
      # Stage 1 demands to know a root, and mounts it; the agent's is then in its place. A system that is to
      # start on a root that it knows says so itself.
      fileSystems."/" = lib.mkDefault {
        device = "none";
        fsType = "tmpfs";
      };
      # NixOS builds no initrd when its kernel lacks one of them.
      boot.initrd.availableKernelModules = [
        "virtio_pci" "virtio_blk" "virtio_scsi" "virtio_net" "virtio_console" "virtio_rng"
        "nvme" "ena" "gve" "hv_vmbus" "hv_storvsc" "hv_netvsc" "xen-blkfront" "xen-netfront"
        "vmxnet3" "ahci" "sd_mod" "sr_mod"
        "ext4" "vfat" "nls_cp437" "nls_iso8859-1" "xfs" "isofs" "dm_mod" "qemu_fw_cfg"
      ]
      ++ lib.optionals pkgs.stdenv.hostPlatform.isx86 [ "vmw_pvscsi" ]
      ++ lib.concatMap (program: modules.${program} or [ ]) (lib.attrNames cfg.initrd.programs);
      boot.initrd.kernelModules = [ "af_packet" ];
    })

    (lib.mkIf (cfg.initrd.enable && with_systemd) {
      boot.initrd.systemd = {
        storePaths = [ rouse ];
        extraBin = cfg.initrd.programs; # in /bin, where the agent looks, whatever $PATH is
        contents."/etc/rouse/agent.json".source = settings;
        contents."/etc/ssl/certs/ca-certificates.crt".source = certificates;

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
            "initrd-switch-root.target"
            "shutdown.target"
          ];
          conflicts = [ "shutdown.target" "initrd-switch-root.target" ];
          requiredBy = [ "initrd-root-fs.target" ];
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = "${rouse} boot --initrd";
            OOMPolicy = "continue";
            Restart = "on-abnormal";
            RestartSec = "2s";
            TimeoutStartSec = "infinity";
            StandardOutput = "journal+console";
            StandardError = "journal+console";
          };
        };

        # These take the system from init=. The agent tells initrd-switch-root.service which one it is, and
        # its prepare-root activates it when it has become the root.
        services.initrd-find-nixos-closure = if_off;
        services.initrd-nixos-activation = if_off;
      };
    })

    (lib.mkIf (cfg.initrd.enable && !with_systemd) {
      boot.initrd.extraUtilsCommands = lib.concatStrings (
        map (program: "copy_bin_and_libs ${program}\n") ([ rouse ] ++ lib.attrValues cfg.initrd.programs)
      );
      boot.initrd.extraUtilsCommandsTest = "$out/bin/rouse --version\n";

      # Last of all, with udev still running: what was mounted by then goes, and what the agent mounts there
      # is the root. switch_root(8) starts what $stage2Init says.
      boot.initrd.postMountCommands = lib.mkAfter ''
        case " $(cat /proc/cmdline) " in
        *" rouse=off "*) ;;
        *)
          mkdir -p /etc/rouse /etc/ssl/certs /run/rouse
          ln -sf ${settings} /etc/rouse/agent.json
          ln -sf ${certificates} /etc/ssl/certs/ca-certificates.crt
          while umount -l "$targetRoot" 2>/dev/null; do :; done
          until rouse boot --initrd --root "$targetRoot"; do
            echo "rouse: the boot has failed; see /run/rouse/report.json"
            fail
          done
          stage2Init=$(sed -n 's/.*"init": *"\([^"]*\)".*/\1/p' /run/rouse/handoff.json)
          ;;
        esac
      '';
    })
  ];
}
