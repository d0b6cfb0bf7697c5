#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Caches with one defect each; see hostile.py. Needs no root and no Nix.
exec timeout -k 5 600 python3 "$(dirname "$0")/hostile.py"
