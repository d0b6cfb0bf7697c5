#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two hundred pulls that are killed at a random moment, each going on where the one before was killed or
# beginning anew; then what Nix itself says of the end.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
list_closure >"$W/names"
make_cache zstd zstd
serve

# How long does one take that is not killed? A moment within that, and a little beyond; less when many end
# before it, as the first may have been slower than the others.
begin=$(date +%s%N)
ok whole_pull pull "$W/whole" "$HTTP/zstd"
took=$((($(date +%s%N) - begin) / 1000000 + 20))
python3 - "$ROUSE" "$HTTP/zstd" "$KEY" "$TOP" "$W/store" $took >"$W/log" <<'END'
"""Prints how many were killed, how many ended before, and every lie that was found in the list."""
import os, random, shutil, signal, subprocess, sys, time
rouse, cache, key, top, store, took = sys.argv[1:]
killed = ended = 0
took = int(took)
chance = random.Random(os.getpid())
seed = chance.randrange(1 << 30)
print("seed", seed)
chance.seed(seed)

def registered():
    """Path -> references, of what is called valid."""
    try:
        lines = open(store + "/nix/var/nix/rouse/registration", encoding="ascii").read().split("\n")
    except FileNotFoundError:
        return {}
    out, i = {}, 0
    while i + 4 < len(lines):
        n = int(lines[i + 4])
        out[lines[i]] = lines[i + 5:i + 5 + n]
        i += 5 + n
    return out

for i in range(200):
    os.makedirs(store, exist_ok=True)
    p = subprocess.Popen([rouse, "pull", "--cache", cache, "--key", key, "--store", store, top],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        p.wait(chance.random() * took / 1000)
    except subprocess.TimeoutExpired:
        p.send_signal(signal.SIGKILL)
        p.wait()
    if p.returncode == -signal.SIGKILL:
        killed += 1
    elif p.returncode == 0:
        ended += 1
        if ended > 10 and ended > killed / 2:
            took = max(10, took * 0.9)
    else:
        print("lie: it failed after a kill:", p.stderr.read().decode())
    valid = registered()
    for path, references in valid.items():
        if not os.path.lexists(store + path):
            print("lie: registered, and not there:", path)
        for r in references:
            if r not in valid:
                print("lie: registered without its reference:", path, r)
    for name in os.listdir(store + "/nix/store") if os.path.isdir(store + "/nix/store") else []:
        if not name.startswith(".rouse-staging-") and os.stat(store + "/nix/store/" + name,
                                                              follow_symlinks=False).st_mode & 0o222 and \
                not os.path.islink(store + "/nix/store/" + name):
            print("lie: a tree that is not complete is visible:", name)
    if p.returncode == 0 and i < 199:
        for where, _, _ in os.walk(store):
            os.chmod(where, 0o755)
        shutil.rmtree(store)
print("killed", killed, "ended", ended)
END
cat "$W/log" >"$W/out"
ok most_were_killed [ "$(sed -n 's/^killed \([0-9]*\) .*/\1/p' "$W/log")" -gt 100 ]
ok nothing_that_was_said_was_false [ "$(grep -c '^lie' "$W/log")" = 0 ]
ok pull_after_all_kills pull "$W/store" "$HTTP/zstd"
ok leaves_nothing no_leftovers "$W/store"
mount --bind "$W/store/nix" /nix
nix-store --load-db </nix/var/nix/rouse/registration
ok nix_finds_every_path [ "$(nix-store -qR "$TOP" | wc -l)" = "$(wc -l <"$W/names")" ]
ok nix_finds_nothing_wrong nix-store --verify --check-contents
umount /nix
finish
