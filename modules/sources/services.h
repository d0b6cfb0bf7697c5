/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of all metadata services, for tests that play them at another address. */
#pragma once

#include "service.h"

extern const struct service service_ec2, service_ec2_compatible, service_gce, service_azure,
	service_openstack, service_digitalocean, service_hetzner, service_oracle, service_vultr,
	service_scaleway, service_akamai, service_exoscale, service_upcloud, service_aliyun,
	service_cloudstack;
