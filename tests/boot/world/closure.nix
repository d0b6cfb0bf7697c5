# SPDX-License-Identifier: Apache-2.0
#
# A small but real system closure: systemd, nginx and sshd out of Debian's packages, one store path
# per program or library, each binary bound to the store paths that it needs (see package.sh).
# `debs` is the directory that fetch-debs made: default.nix with version and file of each package.
{ debs, debNames ? null }:
let
  source = import debs;
  lines = builtins.concatStringsSep "\n";
  words = builtins.concatStringsSep " ";

  # The builders use the host's shell, dpkg, tar and patchelf: there is no sandbox.
  build = name: script: attrs: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-eu" script ];
    PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
    LC_ALL = "C";
  } // attrs);

  # One store path out of one or more Debian packages. `keep` are the files that it keeps (shell
  # patterns, relative to the package's merged tree); libraries are kept always.
  package = name: from: deps: keep:
    build "${name}-${source.${builtins.head from}.version}" ./package.sh {
      inherit glibc deps;
      debs = map (d: source.${d}.file) from;
      keep = lines keep;
    };
  library = name: from: deps: package name [ from ] deps [ ];

  glibc = derivation {
    name = "glibc-${source.libc6.version}";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-eu" ./package.sh ];
    PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
    LC_ALL = "C";
    debs = [ source.libc6.file ];
    glibc = "";
    deps = [ ];
    keep = "";
  };

  acl = library "acl" "libacl1" [ ];
  attr = library "attr" "libattr1" [ ];
  audit = library "audit" "libaudit1" [ cap-ng ];
  apparmor = library "apparmor" "libapparmor1" [ ];
  blkid = library "libblkid" "libblkid1" [ ];
  cap = library "libcap" "libcap2" [ ];
  cap-ng = library "libcap-ng" "libcap-ng0" [ ];
  com-err = library "libcom-err" "libcom-err2" [ ];
  crypt = library "libxcrypt" "libcrypt1" [ ];
  fdisk = library "libfdisk" "libfdisk1" [ blkid uuid ];
  gcc-libs = library "gcc-libs" "libgcc-s1" [ ];
  gcrypt = library "libgcrypt" "libgcrypt20" [ gpg-error ];
  gmp = library "gmp" "libgmp10" [ ];
  gpg-error = library "libgpg-error" "libgpg-error0" [ ];
  ip4tc = library "libip4tc" "libip4tc2" [ ];
  keyutils = library "keyutils" "libkeyutils1" [ ];
  kmod = library "kmod" "libkmod2" [ lzma openssl zstd ];
  krb5 = package "krb5" [ "libkrb5-3" "libgssapi-krb5-2" "libk5crypto3" "libkrb5support0" ]
    [ com-err keyutils openssl ] [ ];
  lz4 = library "lz4" "liblz4-1" [ ];
  lzma = library "xz" "liblzma5" [ ];
  mount-lib = library "libmount" "libmount1" [ blkid selinux pcre2 ];
  nsl = library "libnsl" "libnsl2" [ tirpc krb5 com-err keyutils openssl ];
  openssl = library "openssl" "libssl3" [ ];
  pam-lib = library "linux-pam" "libpam0g" [ audit cap-ng ];
  pcre2 = library "pcre2" "libpcre2-8-0" [ ];
  procps-lib = library "libproc2" "libproc2-0" [ systemd-lib cap gcrypt gpg-error lz4 lzma zstd ];
  seccomp = library "libseccomp" "libseccomp2" [ ];
  selinux = library "libselinux" "libselinux1" [ pcre2 ];
  smartcols = library "libsmartcols" "libsmartcols1" [ ];
  systemd-lib = library "libsystemd" "libsystemd0" [ cap gcrypt gpg-error lz4 lzma zstd ];
  tinfo = library "ncurses" "libtinfo6" [ ];
  tirpc = library "libtirpc" "libtirpc3" [ krb5 com-err keyutils openssl ];
  udev-lib = library "libudev" "libudev1" [ ];
  uuid = library "libuuid" "libuuid1" [ ];
  wrap = library "tcp-wrappers" "libwrap0" [ nsl tirpc krb5 com-err keyutils openssl ];
  zlib = library "zlib" "zlib1g" [ ];
  zstd = library "zstd" "libzstd1" [ ];

  bash = package "bash" [ "bash" ] [ tinfo ] [ "bin/bash" ];
  dash = package "dash" [ "dash" ] [ ] [ "bin/dash" "bin/sh" ];
  coreutils = package "coreutils" [ "coreutils" ] [ acl attr gmp selinux pcre2 openssl ]
    (map (p: "bin/${p}") [
      "cat" "chmod" "chown" "cp" "cut" "date" "dd" "df" "du" "echo" "env" "false" "head" "id" "ln" "ls"
      "mkdir" "mv" "od" "printf" "pwd" "readlink" "rm" "sha256sum" "sleep" "sort" "stat" "sync" "tail"
      "touch" "tr" "true" "uname" "wc"
    ]);
  hostname = package "hostname" [ "hostname" ] [ ] [ "bin/hostname" ];
  findutils = package "findutils" [ "findutils" ] [ selinux pcre2 ] [ "bin/find" ];
  grep = package "grep" [ "grep" ] [ pcre2 ] [ "bin/grep" ];
  login = package "shadow" [ "login" ] [ pam-lib audit cap-ng crypt selinux pcre2 ] [ "bin/login" "sbin/nologin" ];
  nginx = package "nginx" [ "nginx" ] [ crypt pcre2 openssl zlib ] [ "sbin/nginx" ];
  openssh = package "openssh" [ "openssh-server" "openssh-client" "openssh-sftp-server" ]
    [ audit cap-ng com-err crypt krb5 keyutils openssl pam-lib selinux pcre2 systemd-lib wrap nsl tirpc zlib
      cap gcrypt gpg-error lz4 lzma zstd ]
    [ "sbin/sshd" "bin/ssh-keygen" "lib/openssh/sftp-server" ];
  pam = package "pam-modules" [ "libpam-modules" "libpam-modules-bin" ]
    [ pam-lib audit cap-ng crypt selinux pcre2 nsl tirpc krb5 com-err keyutils openssl ]
    [ "lib/security/pam_deny.so" "lib/security/pam_env.so" "lib/security/pam_nologin.so"
      "lib/security/pam_permit.so" "lib/security/pam_unix.so" "sbin/unix_chkpwd" ];
  procps = package "procps" [ "procps" ] [ procps-lib tinfo systemd-lib cap gcrypt gpg-error lz4 lzma zstd ]
    [ "bin/ps" "bin/free" "bin/kill" "bin/uptime" ];
  systemd = package "systemd" [ "systemd" "libsystemd-shared" ]
    [ acl apparmor attr audit blkid cap cap-ng crypt fdisk gcc-libs gcrypt gpg-error ip4tc kmod lz4 lzma
      mount-lib openssl pam-lib pcre2 seccomp selinux systemd-lib uuid zstd ]
    ((map (p: "bin/${p}") [ "journalctl" "systemctl" "systemd-analyze" "systemd-notify" "systemd-cgls" ])
      ++ (map (p: "lib/systemd/${p}") [
        "systemd" "systemd-journald" "systemd-shutdown" "systemd-sulogin-shell"
      ])
      ++ (map (u: "lib/systemd/system/${u}") [
        "basic.target" "boot-complete.target" "ctrl-alt-del.target" "emergency.target" "exit.target" "final.target" "getty.target"
        "getty-pre.target" "graphical.target" "halt.target" "local-fs-pre.target" "local-fs.target"
        "multi-user.target" "network-online.target" "network-pre.target" "network.target"
        "nss-lookup.target" "nss-user-lookup.target" "paths.target" "poweroff.target" "reboot.target"
        "remote-fs-pre.target" "remote-fs.target" "rescue.target" "shutdown.target" "slices.target"
        "sockets.target" "swap.target" "sysinit.target" "system-update.target" "time-set.target"
        "time-sync.target" "timers.target" "umount.target" "user.slice"
        "systemd-halt.service" "systemd-journald-dev-log.socket" "systemd-journald.service"
        "systemd-journald.socket" "systemd-poweroff.service" "systemd-reboot.service"
      ]));
  util-linux = package "util-linux" [ "util-linux" "mount" ]
    [ blkid cap-ng crypt mount-lib pam-lib audit selinux pcre2 smartcols systemd-lib tinfo udev-lib uuid
      zlib cap gcrypt gpg-error lz4 lzma zstd ]
    [ "bin/dmesg" "bin/findmnt" "bin/lsblk" "bin/mount" "bin/mountpoint" "bin/umount" "sbin/agetty" "sbin/sulogin" ];

  units = build "units" ./copy.sh { tree = ./units; inherit dash openssh nginx login; util_linux = util-linux; };
  etc = build "etc" ./copy.sh { tree = ./etc; inherit bash nginx openssh dash login; util_linux = util-linux; };

  # What a person and systemd expect below /usr: one tree of links.
  sw = build "system-path" ./merge.sh {
    inherit glibc systemd units;
    parts = [ bash coreutils dash findutils grep hostname login nginx openssh pam procps systemd util-linux units ];
  };
in
build "rouse-demo-system-1" ./system.sh {
  inherit sw etc systemd dash;
  init = ./init;
  accounts = ./accounts;
  release = "rouse-demo 1";
}
