#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2034 # dracut reads both
# To be read by dracut: the root is the agent's to make, and there is no device to wait for.
if ! getarg rouse=off > /dev/null; then
	root=rouse
	rootok=1
fi
