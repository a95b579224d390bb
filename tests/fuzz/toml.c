/*
 * Fuzz target: a configuration file. The input is parsed as provium.toml, with everything behind
 * the syntax: types, profiles, `{out}`. Profiles in folders are looked for in a place that does not
 * exist, so the input decides alone.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lab/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads each string, so that a sanitizer sees one that is not there. */
static size_t touch(const struct pv_config *config)
{
	size_t sum = 0;
	for (size_t i = 0; i < config->root_count; i++)
		sum += strlen(config->roots[i]);
	for (size_t i = 0; i < config->warning_count; i++)
		sum += strlen(config->warnings[i]);
	for (size_t i = 0; i < config->profile_count; i++) {
		const struct pv_profile *profile = &config->profiles[i];
		sum += strlen(profile->name) + strlen(profile->dir) + strlen(profile->guest_os) +
		       strlen(profile->build_out);
		for (size_t n = 0; n < profile->disk_count; n++)
			sum += strlen(profile->disks[n].id);
		sum += pv_config_profile(config, profile->name) != NULL;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	if (pv_config_parse(&config, (const char *)data, size, "/no/such/folder", "fuzz", &err))
		return 0;
	/* Kept, or the compiler may drop the walk. */
	volatile size_t sum = touch(&config);
	(void)sum;
	pv_config_finish(&config);
	return 0;
}
