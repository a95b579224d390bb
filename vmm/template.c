/*
 * Templates as objects: parsing the state once, counting references.
 *
 * A template is constant after it was made, so forks on several threads share it without a lock;
 * the count is atomic. The state is kept as the bytes that a file holds, and its document points
 * into them. vCPUs and interrupt controllers are decoded here, devices by their loaders at each
 * restore.
 *
 * The state may come from a hostile file; the counts that allocations depend on are checked here.
 */
#include "vmm/template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "vmm/layout.h"
#include "vmm/ram_warm.h"
#include "vmm/template_private.h"

struct pv_template *pv_template_ref(struct pv_template *template)
{
	__atomic_add_fetch(&template->references, 1, __ATOMIC_RELAXED);
	return template;
}

void pv_template_unref(struct pv_template *template)
{
	if (!template || __atomic_sub_fetch(&template->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	pv_ram_image_unref(template->ram);
	pv_doc_destroy(template->doc);
	pv_bytes_finish(&template->state);
	pv_bytes_finish(&template->owner);
	free(template->working_set);
	free(template->vcpus);
	free(template->file);
	free(template);
}

uint64_t pv_template_memory(const struct pv_template *template)
{
	return template->ram->size;
}

unsigned pv_template_cpus(const struct pv_template *template)
{
	return template->cpus;
}

bool pv_template_is_seeded(const struct pv_template *template)
{
	return template->has_rng_seed;
}

int pv_template_set_owner(
    struct pv_template *template, const void *data, size_t len, struct pv_err *err)
{
	if (len > PV_TEMPLATE_OWNER_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, E2BIG,
		    "%zu bytes do not go with a snapshot; give at most %u", len,
		    PV_TEMPLATE_OWNER_MAX);
	struct pv_bytes copy = {0};
	if (pv_bytes_append(&copy, data, len) < 0)
		return pv_err_nomem(err, "snapshot");
	pv_bytes_finish(&template->owner);
	template->owner = copy;
	return 0;
}

const void *pv_template_owner(const struct pv_template *template, size_t *len)
{
	*len = template->owner.len;
	return template->owner.data;
}

void pv_template_set_working_set(struct pv_template *template, struct pv_working_set *set)
{
	free(template->working_set);
	template->working_set = set;
}

bool pv_template_has_working_set(const struct pv_template *template)
{
	return template->working_set != NULL;
}

void pv_template_gather(const struct pv_template *template, const struct pv_working_set *set)
{
	pv_ram_warm_gather(template->ram, set);
}

bool pv_template_file_id(const struct pv_template *template, char id[PV_TEMPLATE_ID])
{
	struct pv_ram_home *home = template->file ? pv_ram_image_home(template->ram) : NULL;
	for (unsigned i = 0; home && i < sizeof(home->id); i++)
		snprintf(id + (size_t)2 * i, 3, "%02x", home->id[i]);
	free(home);
	return home != NULL;
}

static int decode_vcpus(
    struct pv_template *template, const struct pv_val *array, struct pv_err *err)
{
	template->vcpus = calloc(template->cpus, sizeof(template->vcpus[0]));
	if (!template->vcpus)
		return pv_err_nomem(err, "state of vCPUs");
	for (unsigned i = 0; i < template->cpus; i++) {
		int code = pv_vcpu_state_unpack(&template->vcpus[i], pv_val_at(array, i), err);
		if (code < 0)
			return pv_err_prefix(err, "vCPU %u", i);
	}
	return 0;
}

static int decode(struct pv_template *template, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(template->root, "a machine", err);
	const uint64_t memory = pv_fields_uint(&fields, "memory", INT64_MAX);
	template->cpus = (unsigned)pv_fields_uint(&fields, "cpus", PV_LAYOUT_CPUS_MAX);
	template->has_devices = pv_fields_bool(&fields, "devices");
	template->vsock_cid = pv_fields_uint(&fields, "cid", UINT64_MAX);
	const struct pv_val *seed = pv_fields_value(&fields, "seed");
	template->has_rng_seed = pv_val_uint(seed, &template->rng_seed);
	if (seed && !template->has_rng_seed && pv_val_type(seed) != PV_VAL_NIL)
		pv_fields_fail(&fields, "field `seed` is neither a number nor nil");
	if (template->cpus == 0)
		pv_fields_fail(&fields, "it has no vCPU");
	if (fields.status == 0 && memory != template->ram->size)
		pv_fields_fail(&fields, "it has %llu bytes of RAM, and the image has %llu",
		    (unsigned long long)memory, (unsigned long long)template->ram->size);
	const struct pv_val *vcpus =
	    pv_fields_array(&fields, "vcpus", template->cpus, template->cpus);
	const struct pv_val *chips = pv_fields_value(&fields, "chips");
	/* For pv_machine_state_load. */
	static const char *const later[] = {"cpuid", "clock", "gsi", "platform", "virtio"};
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		pv_fields_value(&fields, later[i]);
	int code = pv_fields_end(&fields);
	if (code == 0)
		code = pv_vm_state_unpack(&template->chips, chips, err);
	if (code == 0)
		code = decode_vcpus(template, vcpus, err);
	return code;
}

int pv_template_make(struct pv_template **out, const char *file, struct pv_bytes *state,
    struct pv_ram_image *ram, struct pv_err *err)
{
	struct pv_template *template = calloc(1, sizeof(*template));
	*out = NULL;
	if (!template) {
		pv_ram_image_unref(ram);
		pv_bytes_finish(state);
		return pv_err_nomem(err, "snapshot");
	}
	template->references = 1;
	template->ram = ram;
	template->state = *state;
	*state = (struct pv_bytes){0};
	int code = 0;
	if (file && !(template->file = strdup(file)))
		code = pv_err_nomem(err, "snapshot");
	if (code == 0)
		code = pv_doc_parse(&template->doc, template->state.data, template->state.len, err);
	if (code == 0) {
		template->root = pv_doc_root(template->doc);
		code = decode(template, err);
	}
	if (code < 0) {
		pv_template_unref(template);
		return code;
	}
	*out = template;
	return 0;
}
