/* SPDX-License-Identifier: Apache-2.0 */
/* Time. All deadlines are absolute milliseconds on CLOCK_BOOTTIME, which no NTP step moves. */
#pragma once

#include <stdint.h>

#include <rouse/auto.h>

uint64_t rouse_clock_ms(void);     /* since the kernel booted */
uint64_t rouse_clock_cpu_ms(void); /* user + system time of this process and its waited children */
/* Milliseconds left until `deadline`, 0 when it has passed; clamped to INT_MAX for poll(2). */
int rouse_clock_left(uint64_t deadline);
/* Sleeps until `when` (absolute), through signals. */
void rouse_clock_sleep_until(uint64_t when);
/* A uniform random number in [0, bound]; not for keys. */
uint64_t rouse_jitter(uint64_t bound);
