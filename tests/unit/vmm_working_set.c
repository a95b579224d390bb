/* Working sets: what is mapped is found, what was written comes back, and nothing else is read.
 * Needs no KVM. */
#include "vmm/working_set.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "vmm/ram.h"
#include "vmm/ram_image.h"
#include "vmm/ram_own.h"
#include "vmm/ram_warm.h"

#define SIZE	  (UINT64_C(16) << 20)
#define PAGE	  UINT64_C(4096)
#define HALF_PAGE (PAGE / 2)

/* Private RAM on an image whose pages hold their numbers. */
static void make_ram(struct pv_ram *ram, const struct pv_working_set *set)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_ram_image *image;
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	for (uint64_t page = 0; page < SIZE / PAGE; page++)
		assert_int_equal(
		    pwrite(fd, &page, sizeof(page), (off_t)(page * PAGE)), sizeof(page));
	assert_int_equal(ftruncate(fd, (off_t)SIZE), 0);
	assert_int_equal(pv_ram_image_create(&image, fd, 0, SIZE, &err), 0);
	assert_int_equal(pv_ram_init_private(ram, -1, image, NULL, set, &err), 0);
	pv_ram_image_unref(image);
}

static uint64_t number_at(const struct pv_ram *ram, uint64_t page)
{
	uint64_t number;
	memcpy(&number, ram->host + page * PAGE, sizeof(number));
	return number;
}

static void write_at(const struct pv_ram *ram, uint64_t page)
{
	ram->host[page * PAGE + HALF_PAGE] = 1;
}

static struct pv_working_set *set_of(const struct pv_ram *ram)
{
	struct pv_working_set *set = pv_working_set_take(ram);
	assert_non_null(set);
	return set;
}

static void what_is_touched_is_found(void **state)
{
	struct pv_ram ram;
	make_ram(&ram, NULL);
	assert_true(ram.fresh);
	struct pv_working_set *set = set_of(&ram);
	assert_int_equal(set->piece_count, 0);
	assert_int_equal(set->run_count, 0);
	free(set);
	assert_int_equal(number_at(&ram, 5), 5);
	write_at(&ram, 600);
	write_at(&ram, 601);
	write_at(&ram, 603);
	write_at(&ram, SIZE / PAGE - 1);
	set = set_of(&ram);
	assert_int_equal(set->ram_size, SIZE);
	assert_int_equal(set->piece_count, 3);
	assert_int_equal(set->pieces[0].number, 0);
	assert_int_equal(set->pieces[1].number, 1);
	assert_int_equal(set->pieces[2].number, 7);
	assert_true(set->pieces[0].faults > 0);
	assert_true(set->pieces[1].faults > set->pieces[0].faults);
	const struct pv_ram_run runs[] = {
	    {600 * PAGE,	 2 * PAGE},
	    {603 * PAGE,	 PAGE    },
		{SIZE - PAGE, PAGE	  }
	   };
	assert_int_equal(set->run_count, 3);
	assert_memory_equal(set->runs, runs, sizeof(runs));
	free(set);
	pv_ram_finish(&ram, NULL);
}

static struct pv_working_set example(void)
{
	struct pv_working_set set = {.ram_size = SIZE, .piece_count = 2, .run_count = 3};
	set.pieces[0] = (struct pv_working_set_piece){.number = 0, .faults = 9};
	set.pieces[1] = (struct pv_working_set_piece){.number = 7, .faults = 1};
	set.runs[0] = (struct pv_ram_run){.at = 0, .size = 2 * PAGE};
	set.runs[1] = (struct pv_ram_run){.at = 511 * PAGE, .size = 3 * PAGE};
	set.runs[2] = (struct pv_ram_run){.at = SIZE - PAGE, .size = PAGE};
	return set;
}

static void what_is_written_comes_back(void **state)
{
	const struct pv_working_set set = example();
	struct pv_working_set *copy;
	struct pv_bytes data = {0};
	assert_int_equal(pv_working_set_write(&set, &data), 0);
	assert_int_equal(pv_working_set_read(&copy, data.data, data.len), 0);
	assert_memory_equal(copy, &set, sizeof(set));
	free(copy);
	for (size_t len = 0; len < data.len; len++)
		assert_int_equal(pv_working_set_read(&copy, data.data, len), -EBADMSG);
	pv_bytes_append(&data, "", 1);
	assert_int_equal(pv_working_set_read(&copy, data.data, data.len), -EBADMSG);
	assert_null(copy);
	pv_bytes_finish(&data);
}

static void refuse(const struct pv_bytes *data, size_t at, uint32_t value)
{
	struct pv_working_set *set;
	uint8_t changed[256];
	assert_true(data->len <= sizeof(changed));
	memcpy(changed, data->data, data->len);
	pv_put_le32(changed + at, value);
	assert_int_equal(pv_working_set_read(&set, changed, data->len), -EBADMSG);
}

static void lies_are_refused(void **state)
{
	const struct pv_working_set set = example();
	struct pv_bytes data = {0};
	assert_int_equal(pv_working_set_write(&set, &data), 0);
	refuse(&data, 0, 0);	       /* magic */
	refuse(&data, 8, 4095);	       /* no whole pages */
	refuse(&data, 8, 8u << 20);    /* less RAM than the pieces need */
	refuse(&data, 12, 0x7fffffff); /* more RAM than anybody has */
	refuse(&data, 16, 3);	       /* pieces */
	refuse(&data, 16, UINT32_MAX);
	refuse(&data, 20, 2); /* runs */
	refuse(&data, 20, UINT32_MAX);
	refuse(&data, 32, 0); /* a piece twice */
	refuse(&data, 32, 9); /* behind the end */
	refuse(&data, 32, UINT32_MAX);
	refuse(&data, 44, 0);		/* an empty run */
	refuse(&data, 44, 511);		/* one that touches the next */
	refuse(&data, 48, 1);		/* not in order */
	refuse(&data, 56, SIZE / PAGE); /* behind the end */
	refuse(&data, 60, 2);
	refuse(&data, 60, UINT32_MAX);
	pv_bytes_finish(&data);
}

static bool is_own(const struct pv_ram *ram, uint64_t page)
{
	uint64_t own[PV_RAM_SET_WORDS(SIZE / PAGE)] = {0};
	assert_true(pv_ram_own_find(ram, own));
	return pv_ram_set_has(own, page);
}

static void warm_ram_looks_the_same(void **state)
{
	const struct pv_working_set set = example();
	struct pv_ram ram;
	make_ram(&ram, &set);
	assert_false(ram.fresh);
	for (uint64_t page = 0; page < SIZE / PAGE; page++)
		assert_int_equal(number_at(&ram, page), page);
	pv_ram_finish(&ram, NULL);
}

/* What was only made ready is neither in a layer nor left by a rewind. */
static void pages_that_are_ready_count_as_unchanged(void **state)
{
	const struct pv_working_set set = example();
	struct pv_err err = PV_ERR_INIT;
	struct pv_ram_image *image, *layer;
	struct pv_ram ram;
	make_ram(&ram, &set);
	if (!is_own(&ram, 512)) {
		pv_ram_finish(&ram, NULL);
		skip(); /* Linux before 5.14 */
	}
	assert_true(is_own(&ram, 0) && is_own(&ram, SIZE / PAGE - 1) && !is_own(&ram, 100));
	assert_int_equal(pv_ram_freeze(&ram, &image, &err), 0);
	assert_ptr_equal(image, ram.image);
	assert_int_equal(image->depth, 0);
	write_at(&ram, 1);
	write_at(&ram, 100);
	assert_int_equal(pv_ram_rewind(&ram, image, &err), 0);
	assert_int_equal(ram.host[PAGE + HALF_PAGE], 0);
	assert_int_equal(ram.host[100 * PAGE + HALF_PAGE], 0);
	write_at(&ram, 513);
	assert_int_equal(pv_ram_freeze(&ram, &layer, &err), 0);
	assert_int_equal(layer->depth, 1);
	struct pv_ram_run runs[PV_RAM_PIECES_MAX];
	assert_int_equal(pv_ram_image_runs_above(layer, image, runs), 1);
	assert_int_equal(runs[0].at, 513 * PAGE);
	assert_int_equal(runs[0].size, PAGE);
	pv_ram_image_unref(layer);
	pv_ram_image_unref(image);
	pv_ram_finish(&ram, NULL);
}

static void a_set_of_another_size_is_not_used(void **state)
{
	struct pv_working_set set = example();
	struct pv_ram ram;
	set.ram_size = 2 * SIZE;
	set.runs[2].at = 2 * SIZE - PAGE;
	make_ram(&ram, &set);
	assert_false(is_own(&ram, 0));
	pv_ram_warm_gather(ram.image, &set);
	pv_ram_finish(&ram, NULL);
}

/* Whether the host can or not: what is seen stays the same. */
static void gathered_pages_hold_what_they_did(void **state)
{
	struct pv_working_set set = example();
	struct pv_ram ram;
	set.run_count = 0;
	make_ram(&ram, NULL);
	assert_int_equal(number_at(&ram, 3), 3);
	write_at(&ram, 4);
	pv_ram_warm_gather(ram.image, &set);
	for (uint64_t page = 0; page < SIZE / PAGE; page++)
		assert_int_equal(number_at(&ram, page), page);
	assert_int_equal(ram.host[4 * PAGE + HALF_PAGE], 1);
	pv_ram_finish(&ram, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_touched_is_found),
	    cmocka_unit_test(what_is_written_comes_back),
	    cmocka_unit_test(lies_are_refused),
	    cmocka_unit_test(warm_ram_looks_the_same),
	    cmocka_unit_test(pages_that_are_ready_count_as_unchanged),
	    cmocka_unit_test(a_set_of_another_size_is_not_used),
	    cmocka_unit_test(gathered_pages_hold_what_they_did),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
