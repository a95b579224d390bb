/*
 * Fuzz target: lab.json. What is accepted must hold what lab/lab_index.h promises, and be the same
 * again after it was written and read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/lab_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

static void check(const struct pv_lab_index *index)
{
	require(index->lab_count > 0 && index->lab_count <= PV_LAB_INDEX_LABS_MAX);
	require(index->vm_count <= PV_LAB_INDEX_VMS_MAX);
	require(index->labs[0].parent == 0 && index->labs[0].first == 0);
	for (size_t i = 1; i < index->lab_count; i++) {
		const struct pv_lab_index_lab *lab = &index->labs[i];
		require(lab->parent < i && lab->first <= i && *lab->name);
		/* Nothing is inside of a further place. */
		require(index->labs[lab->parent].first == lab->parent);
	}
	for (size_t i = 0; i < index->vm_count; i++) {
		const struct pv_lab_index_vm *vm = &index->vms[i];
		require(vm->parent < index->lab_count && vm->first <= i && *vm->name);
		require(index->labs[vm->parent].first == vm->parent);
		if (vm->first != i) {
			require(index->vms[vm->first].first == vm->first && !vm->file);
			continue;
		}
		require(*vm->profile && vm->memory > 0 && vm->cpus > 0);
		require(*vm->file && !strchr(vm->file, '/') && strcmp(vm->file, "..") != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_lab_index index = {0}, again = {0};
	struct pv_bytes text = {0}, second = {0};
	struct pv_err err = PV_ERR_INIT;
	if (pv_lab_index_read(&index, data, size, &err) == 0) {
		check(&index);
		if (pv_lab_index_write(&index, &text) == 0) {
			require(pv_lab_index_read(&again, text.data, text.len, &err) == 0);
			check(&again);
			require(pv_lab_index_write(&again, &second) == 0);
			require(second.len == text.len &&
				memcmp(second.data, text.data, text.len) == 0);
		}
	} else {
		require(err.text[0] != '\0');
	}
	pv_lab_index_finish(&index);
	pv_lab_index_finish(&again);
	pv_bytes_finish(&text);
	pv_bytes_finish(&second);
	return 0;
}
