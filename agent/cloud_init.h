/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Packer, Terraform and test harnesses ask of a machine that cloud-init would have booted: called as
 * "cloud-init" or "cloud-id", rouse answers the same questions in the same words, with the same exit
 * statuses. Nothing here provisions.
 */
#pragma once

#include <jansson.h>

#include <rouse/err.h>

/* "aws", "gce", "azure", "openstack", "nocloud"… of rouse's "ec2", "gce"…; static. */
const char *cloud_name(const char *cloud);

/* cloud-init query; its answer on stdout. Returns the exit status. */
int cloud_query(int argc, char **argv);
int cloud_init_main(int argc, char **argv);
int cloud_id_main(int argc, char **argv);
