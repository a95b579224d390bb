/* Guest RAM frozen, layered and rewound, without a machine: what a layer holds, what is seen
 * through many of them, and what happens at the limits. */
#include "vmm/ram.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "vmm/ram_image.h"
#include "vmm/ram_own.h"
#include "vmm/ram_runs.h"

#define PAGE  UINT64_C(4096)
#define SIZE  (UINT64_C(64) << 20)
#define PAGES (SIZE / PAGE)

static struct pv_err err = PV_ERR_INIT;

/* --- sets and runs --- */

static void test_runs_cover_a_set(void **state)
{
	uint64_t set[PV_RAM_SET_WORDS(1000)] = {0};
	struct pv_ram_run runs[8];
	assert_int_equal(pv_ram_runs_cover(set, 1000, 8, runs), 0);
	static const unsigned pages[] = {0, 1, 63, 64, 65, 130, 500, 999};
	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		pv_ram_set_add(set, pages[i]);
	assert_int_equal(pv_ram_runs_cover(set, 1000, 8, runs), 5);
	static const struct pv_ram_run wanted[] = {
	    {0,		2 * PAGE},
		   {63 * PAGE,  3 * PAGE},
		  {130 * PAGE, PAGE	   },
	      {500 * PAGE, PAGE    },
	    {999 * PAGE, PAGE    }
	      };
	assert_memory_equal(runs, wanted, sizeof(wanted));
	assert_true(pv_ram_runs_are_sound(runs, 5, 1000 * PAGE));
	assert_int_equal(pv_ram_runs_total(runs, 5), 8 * PAGE);
	/* A gap of eight pages is covered, one of nine is not. */
	pv_ram_set_add(set, 139);
	pv_ram_set_add(set, 510);
	assert_int_equal(pv_ram_runs_cover(set, 1000, 8, runs), 6);
	assert_int_equal(runs[2].size, 10 * PAGE);
	pv_ram_set_remove(set, 510);
	assert_false(pv_ram_set_has(set, 510));
}

static void test_runs_are_never_more_than_allowed(void **state)
{
	static uint64_t set[PV_RAM_SET_WORDS(100000)];
	static struct pv_ram_run runs[256];
	for (unsigned page = 3; page < 100000; page += 37)
		pv_ram_set_add(set, page);
	for (unsigned most = 1; most <= 256; most *= 4) {
		unsigned count = pv_ram_runs_cover(set, 100000, most, runs);
		assert_in_range(count, 1, most);
		assert_true(pv_ram_runs_are_sound(runs, count, 100000 * PAGE));
		for (unsigned page = 3, i = 0; page < 100000; page += 37) {
			while (runs[i].at + runs[i].size <= page * PAGE)
				assert_true(++i < count);
			assert_true(runs[i].at <= page * PAGE);
		}
	}
}

static void test_unsound_runs_are_told(void **state)
{
	static const struct pv_ram_run bad[][2] = {
	    {{0, PAGE},		{PAGE, PAGE}		    }, /* they touch */
	    {{PAGE, 2 * PAGE},       {2 * PAGE, PAGE}	       }, /* overlap */
	    {{4 * PAGE, PAGE},       {0, PAGE}			}, /* order */
	    {{1, PAGE},		{4 * PAGE, PAGE}		}, /* alignment */
	    {{0, PAGE - 1},	    {4 * PAGE, PAGE}		    }, /* half a page */
	    {{0, PAGE},		{4 * PAGE, 0}		     }, /* empty */
	    {{0, PAGE},		{16 * PAGE, PAGE}		 }, /* behind the end */
	    {{0, PAGE},		{15 * PAGE, 2 * PAGE}	     }, /* across the end */
	    {{0, PAGE},		{4 * PAGE, UINT64_MAX - 4095}}, /* wraps */
	    {{0, UINT64_MAX - 4095}, {4 * PAGE, PAGE}	     },
	};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(pv_ram_runs_are_sound(bad[i], 2, 16 * PAGE));
	static const struct pv_ram_run good[] = {
	    {0,	PAGE	    },
	       {2 * PAGE, 14 * PAGE}
	    };
	assert_true(pv_ram_runs_are_sound(good, 2, 16 * PAGE));
	assert_true(pv_ram_runs_are_sound(good, 0, 16 * PAGE));
}

/* --- images --- */

static uint64_t *page_of(const struct pv_ram *ram, uint64_t page)
{
	return (uint64_t *)(ram->host + page * PAGE);
}

/* RAM with some pages in it, frozen. */
static struct pv_ram_image *begin(struct pv_ram *ram)
{
	struct pv_ram_image *image;
	assert_int_equal(pv_ram_init(ram, -1, SIZE, &err), 0);
	for (uint64_t page = 0; page < PAGES; page += 4)
		*page_of(ram, page) = page + 1;
	assert_int_equal(pv_ram_freeze(ram, &image, &err), 0);
	assert_int_equal(image->depth, 0);
	assert_null(image->base);
	return image;
}

static struct pv_ram_image *freeze(struct pv_ram *ram)
{
	struct pv_ram_image *image;
	if (pv_ram_freeze(ram, &image, &err) < 0)
		fail_msg("%s", err.text);
	return image;
}

static void fork_of(struct pv_ram *ram, struct pv_ram_image *image)
{
	if (pv_ram_init_private(ram, -1, image, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

/* Bytes that the file of an image takes. */
static uint64_t stored(const struct pv_ram_image *image)
{
	struct stat status;
	assert_int_equal(fstat(image->fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

static void test_a_layer_holds_what_was_written(void **state)
{
	struct pv_ram ram, child;
	struct pv_ram_image *base = begin(&ram);
	uint64_t sum = 0;
	for (uint64_t page = 0; page < PAGES; page += 4)
		sum += *page_of(&ram, page); /* reading is not writing */
	assert_int_not_equal(sum, 0);
	*page_of(&ram, 100) = 7;   /* had something */
	*page_of(&ram, 5001) = 8;  /* had nothing */
	*page_of(&ram, 9000) = 0;  /* gets nothing */
	*page_of(&ram, 12001) = 0; /* stays nothing */
	*page_of(&ram, PAGES - 1) = 9;
	const uint64_t before = stored(base);
	struct pv_ram_image *layer = freeze(&ram);
	assert_ptr_equal(layer->base, base);
	assert_int_equal(layer->depth, 1);
	assert_int_equal(layer->file_end, 4 * PAGE);
	assert_int_equal(stored(layer), 3 * PAGE); /* one is a page of zeroes */
	assert_true(stored(base) <= before);
	fork_of(&child, layer);
	for (unsigned i = 0; i < 2; i++) {
		const struct pv_ram *which = i ? &child : &ram;
		assert_int_equal(*page_of(which, 100), 7);
		assert_int_equal(*page_of(which, 5001), 8);
		assert_int_equal(*page_of(which, 9000), 0);
		assert_int_equal(*page_of(which, PAGES - 1), 9);
		assert_int_equal(*page_of(which, 96), 97);
		assert_int_equal(*page_of(which, 104), 105);
	}
	pv_ram_finish(&child, NULL);
	fork_of(&child, base);
	assert_int_equal(*page_of(&child, 100), 101);
	assert_int_equal(*page_of(&child, 9000), 9001);
	pv_ram_finish(&child, NULL);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(base);
	pv_ram_image_unref(layer);
}

static void test_nothing_written_is_no_layer(void **state)
{
	struct pv_ram ram;
	struct pv_ram_image *base = begin(&ram);
	struct pv_ram_image *same = freeze(&ram);
	assert_ptr_equal(same, base);
	*page_of(&ram, 1) = 0; /* written, with what was there */
	pv_ram_image_unref(same);
	same = freeze(&ram);
	assert_ptr_equal(same, base);
	pv_ram_image_unref(same);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(base);
}

static void test_rewinds_to_each_layer(void **state)
{
	struct pv_ram ram;
	struct pv_ram_image *base = begin(&ram);
	for (uint64_t page = 40; page < PAGES; page += 400)
		*page_of(&ram, page) = 1;
	struct pv_ram_image *layer = freeze(&ram);
	for (unsigned i = 0; i < 3; i++) {
		for (uint64_t page = 0; page < PAGES; page += 40)
			*page_of(&ram, page) = 2;
		assert_int_equal(pv_ram_rewind(&ram, layer, &err), 0);
		for (uint64_t page = 40; page < PAGES; page += 40)
			assert_int_equal(*page_of(&ram, page), page % 400 == 40 ? 1 : page + 1);
	}
	/* Another one than it began as, and after a reboot. */
	assert_int_equal(pv_ram_rewind(&ram, base, &err), 0);
	assert_int_equal(*page_of(&ram, 440), 441);
	assert_int_equal(pv_ram_clear(&ram, &err), 0);
	assert_int_equal(*page_of(&ram, 440), 0);
	*page_of(&ram, 440) = 3;
	assert_int_equal(pv_ram_rewind(&ram, layer, &err), 0);
	assert_int_equal(*page_of(&ram, 440), 1);
	assert_int_equal(*page_of(&ram, 480), 481);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(base);
	pv_ram_image_unref(layer);
}

static uint64_t count_own(const struct pv_ram *ram)
{
	static uint64_t set[PV_RAM_SET_WORDS(PAGES)];
	uint64_t count = 0;
	memset(set, 0, sizeof(set));
	assert_true(pv_ram_own_find(ram, set));
	for (uint64_t page = 0; page < PAGES; page++)
		count += pv_ram_set_has(set, page);
	return count;
}

static void test_a_rewind_keeps_a_few_pages_and_drops_many(void **state)
{
	struct pv_ram ram;
	struct pv_ram_image *base = begin(&ram);
	for (unsigned i = 0; i < 3; i++) {
		for (uint64_t page = 41; page < PAGES; page += 40)
			*page_of(&ram, page) = 7;
		const uint64_t wrote = count_own(&ram);
		assert_in_range(wrote, PAGES / 40 - 1, PAGES / 40 + 1);
		assert_int_equal(pv_ram_rewind(&ram, base, &err), 0);
		/* As they were, and still there for the next run. */
		for (uint64_t page = 0; page < PAGES; page++)
			assert_int_equal(*page_of(&ram, page), page % 4 == 0 ? page + 1 : 0);
		assert_int_equal(count_own(&ram), wrote);
	}
	for (uint64_t page = 0; page < PAGES; page += 3)
		*page_of(&ram, page) = 7;
	assert_in_range(count_own(&ram), PAGES / 3, PAGES);
	assert_int_equal(pv_ram_rewind(&ram, base, &err), 0);
	assert_int_equal(count_own(&ram), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		assert_int_equal(*page_of(&ram, page), page % 4 == 0 ? page + 1 : 0);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(base);
}

static void test_what_was_rewound_is_in_no_layer(void **state)
{
	struct pv_ram ram;
	struct pv_ram_image *base = begin(&ram);
	for (uint64_t page = 40; page < PAGES; page += 40)
		*page_of(&ram, page) = 7;
	assert_int_equal(pv_ram_rewind(&ram, base, &err), 0);
	struct pv_ram_image *same = freeze(&ram);
	assert_ptr_equal(same, base);
	pv_ram_image_unref(same);
	*page_of(&ram, 400) = 8;
	struct pv_ram_image *layer = freeze(&ram);
	assert_int_equal(layer->piece_count, 3);
	assert_int_equal(layer->pieces[1].size, PAGE);
	/* Nor in the next. */
	*page_of(&ram, 800) = 9;
	struct pv_ram_image *next = freeze(&ram);
	assert_int_equal(next->piece_count, 5);
	assert_int_equal(pv_ram_rewind(&ram, layer, &err), 0);
	assert_int_equal(*page_of(&ram, 400), 8);
	assert_int_equal(*page_of(&ram, 800), 801);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(next);
	pv_ram_image_unref(layer);
	pv_ram_image_unref(base);
}

/* Twenty generations, each with a page of its own and one that all write. */
static void test_layers_do_not_pile_up(void **state)
{
	enum { GENERATIONS = 20 };
	struct pv_ram ram, child;
	struct pv_ram_image *images[GENERATIONS];
	unsigned deepest = 0;
	images[0] = begin(&ram);
	for (uint64_t i = 1; i < GENERATIONS; i++) {
		*page_of(&ram, 1000 * i / 2) = i;
		*page_of(&ram, 17) = i;
		images[i] = freeze(&ram);
		if (images[i]->depth > deepest)
			deepest = images[i]->depth;
		assert_in_range(images[i]->piece_count, 2, 2 * GENERATIONS + 3);
		/* The whole of it stays together in one process. */
		pv_ram_finish(&ram, NULL);
		fork_of(&ram, images[i]);
	}
	assert_int_equal(deepest, PV_RAM_DEPTH_MAX);
	for (uint64_t i = 1; i < GENERATIONS; i++) {
		fork_of(&child, images[i]);
		assert_int_equal(*page_of(&child, 17), i);
		for (uint64_t k = 1; k < GENERATIONS; k++) {
			uint64_t page = 1000 * k / 2;
			assert_int_equal(*page_of(&child, page), k <= i	    ? k
								 : page % 4 ? 0
									    : page + 1);
		}
		pv_ram_finish(&child, NULL);
	}
	for (unsigned i = 0; i < GENERATIONS; i++)
		pv_ram_image_unref(images[i]);
	assert_int_equal(*page_of(&ram, 17), GENERATIONS - 1);
	pv_ram_finish(&ram, NULL);
}

static void test_scattered_pages_take_few_mappings(void **state)
{
	struct pv_ram ram, child;
	struct pv_ram_image *base = begin(&ram);
	struct pv_ram_image *layer = NULL;
	for (unsigned i = 0; i < 30; i++) {
		for (uint64_t page = i; page < PAGES / 3; page += 11 + i)
			*page_of(&ram, page) = page * 3 + i;
		pv_ram_image_unref(layer);
		layer = freeze(&ram);
		assert_int_not_equal(layer->depth, 0);
		assert_in_range(layer->piece_count, 2, PV_RAM_PIECES_MAX);
	}
	fork_of(&child, layer);
	assert_memory_equal(child.host, ram.host, SIZE);
	pv_ram_finish(&child, NULL);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(base);
	pv_ram_image_unref(layer);
}

static void test_much_is_copied_whole(void **state)
{
	struct pv_ram ram, child;
	struct pv_ram_image *base = begin(&ram);
	for (uint64_t page = 0; page < PAGES * 3 / 4; page++)
		*page_of(&ram, page) = page + 2;
	const uint64_t before = stored(base); /* the kernel filled holes that were written to */
	struct pv_ram_image *whole = freeze(&ram);
	assert_int_equal(whole->depth, 0);
	assert_int_equal(whole->piece_count, 1);
	assert_true(stored(base) <= before);
	pv_ram_image_unref(base);
	fork_of(&child, whole);
	assert_int_equal(*page_of(&child, 3), 5);
	assert_int_equal(*page_of(&child, PAGES - 4), PAGES - 3);
	assert_int_equal(*page_of(&child, PAGES - 3), 0);
	pv_ram_finish(&child, NULL);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(whole);
}

/* A layer in many pieces. */
static struct pv_ram_image *make_pieces(struct pv_ram *ram)
{
	for (uint64_t page = 7; page < PAGES; page += PAGES / 200)
		*page_of(ram, page) = 5;
	struct pv_ram_image *layer = freeze(ram);
	assert_in_range(layer->piece_count, 350, 450);
	return layer;
}

static void test_many_forks_share_one_piece(void **state)
{
	enum { FORKS = 200 };
	static struct pv_ram forks[FORKS];
	struct pv_ram ram;
	struct pv_ram_image *base = begin(&ram);
	struct pv_ram_image *layer = make_pieces(&ram);
	unsigned flat = 0;
	for (unsigned i = 0; i < FORKS; i++) {
		fork_of(&forks[i], layer);
		flat += forks[i].mapped->piece_count == 1;
		assert_int_equal(*page_of(&forks[i], 7), 5);
		assert_int_equal(*page_of(&forks[i], 8), 9);
		assert_int_equal(*page_of(&forks[i], 9), 0);
	}
	assert_in_range(flat, 150, 190); /* 8192 mappings are for the others */
	/* What they change is a layer on the same base all the same. */
	*page_of(&forks[FORKS - 1], 9) = 6;
	struct pv_ram_image *above = freeze(&forks[FORKS - 1]);
	assert_ptr_equal(above->base, layer);
	assert_int_equal(*page_of(&forks[FORKS - 1], 9), 6);
	assert_int_equal(*page_of(&forks[FORKS - 1], 7), 5);
	assert_int_equal(pv_ram_rewind(&forks[FORKS - 1], above, &err), 0);
	assert_int_equal(*page_of(&forks[FORKS - 1], 9), 6);
	pv_ram_image_unref(above);
	for (unsigned i = 0; i < FORKS; i++)
		pv_ram_finish(&forks[i], NULL);
	/* Room again. */
	fork_of(&forks[0], layer);
	assert_ptr_equal(forks[0].mapped, layer);
	pv_ram_finish(&forks[0], NULL);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(base);
	pv_ram_image_unref(layer);
}

/* Takes mappings until the kernel refuses, then gives back `spare`. */
static void exhaust_mappings(uint8_t **at, size_t *count, unsigned spare)
{
	size_t most = 70000;
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
	if (file && fscanf(file, "%zu", &most) != 1)
		most = 0;
	if (file)
		fclose(file);
	if (most > 200000)
		skip();
	*count = most + 16;
	*at = mmap(
	    NULL, *count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(*at, MAP_FAILED);
	size_t i = 0;
	for (; i < *count; i += 2) {
		if (mprotect(*at + i * PAGE, PAGE, PROT_READ) < 0)
			break;
	}
	assert_true(i < *count);
	for (unsigned k = 0; k < spare && i >= 2; k += 2, i -= 2)
		assert_int_equal(mprotect(*at + (i - 2) * PAGE, PAGE, PROT_NONE), 0);
}

static void test_no_mappings_are_left(void **state)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	print_message("skipped: a sanitizer needs mappings of its own\n");
	skip();
#endif
	struct pv_ram ram, other, child;
	uint8_t *room = NULL;
	size_t count;
	struct pv_ram_image *base = begin(&ram);
	struct pv_ram_image *layer = make_pieces(&ram);
	for (uint64_t page = 3; page < PAGES; page += PAGES / 230)
		*page_of(&ram, page) = 6;
	exhaust_mappings(&room, &count, 60);
	struct pv_ram_image *above;
	int frozen = pv_ram_freeze(&ram, &above, &err);
	/* The first one takes what freezing gave back. */
	int forked = pv_ram_init_private(&other, -1, layer, NULL, NULL, &err);
	if (forked == 0)
		forked = pv_ram_init_private(&child, -1, layer, NULL, NULL, &err);
	munmap(room, count * PAGE);
	if (frozen < 0 || forked < 0)
		fail_msg("%s", err.text);
	assert_int_equal(above->depth, 0);
	assert_int_equal(child.mapped->piece_count, 1);
	for (uint64_t page = 3; page < PAGES; page += PAGES / 230)
		assert_int_equal(*page_of(&ram, page), 6);
	for (uint64_t page = 7; page < PAGES; page += PAGES / 200) {
		assert_int_equal(*page_of(&child, page), 5);
		if ((page - 3) % (PAGES / 230) != 0)
			assert_int_equal(*page_of(&ram, page), 5);
	}
	*page_of(&ram, 3) = 7;
	assert_int_equal(pv_ram_rewind(&ram, above, &err), 0);
	assert_int_equal(*page_of(&ram, 3), 6);
	pv_ram_finish(&other, NULL);
	pv_ram_finish(&child, NULL);
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(base);
	pv_ram_image_unref(layer);
	pv_ram_image_unref(above);
}

static void test_a_slice_is_what_its_runs_hold(void **state)
{
	struct pv_ram ram;
	struct pv_ram_run runs[PV_RAM_PIECES_MAX];
	struct pv_ram_image *images[4], *slice;
	images[0] = begin(&ram);
	for (uint64_t i = 1; i < 4; i++) {
		*page_of(&ram, 1000) = 10 * i;
		*page_of(&ram, 1000 + i) = 10 * i + 1;
		*page_of(&ram, 2000 * i) = 10 * i + 2;
		images[i] = freeze(&ram);
	}
	/* 2000 to 2000, 1000 to 1003, 4000, 6000. */
	unsigned count = pv_ram_image_runs_above(images[3], images[0], runs);
	assert_int_equal(count, 4);
	assert_int_equal(runs[0].at, 1000 * PAGE);
	assert_int_equal(runs[0].size, 4 * PAGE);
	assert_int_equal(pv_ram_image_runs_above(images[3], images[3], runs + count), 0);
	assert_int_equal(pv_ram_image_slice(&slice, images[3], runs, count, &err), 0);
	assert_int_equal(slice->size, 7 * PAGE);
	uint64_t data[7 * 512];
	assert_int_equal(pv_ram_image_read(slice, 0, data, sizeof(data)), 0);
	static const uint64_t wanted[] = {30, 11, 21, 31, 12, 22, 32};
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(data[512 * i], wanted[i]);
	for (unsigned i = 0; i < 4; i++)
		pv_ram_image_unref(images[i]);
	pv_ram_finish(&ram, NULL);
	assert_int_equal(pv_ram_image_read(slice, 4096 * 4 - 8, data, 16), 0);
	assert_int_equal(data[1], 12);
	pv_ram_image_unref(slice);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_runs_cover_a_set),
	    cmocka_unit_test(test_runs_are_never_more_than_allowed),
	    cmocka_unit_test(test_unsound_runs_are_told),
	    cmocka_unit_test(test_a_layer_holds_what_was_written),
	    cmocka_unit_test(test_nothing_written_is_no_layer),
	    cmocka_unit_test(test_rewinds_to_each_layer),
	    cmocka_unit_test(test_a_rewind_keeps_a_few_pages_and_drops_many),
	    cmocka_unit_test(test_what_was_rewound_is_in_no_layer),
	    cmocka_unit_test(test_layers_do_not_pile_up),
	    cmocka_unit_test(test_scattered_pages_take_few_mappings),
	    cmocka_unit_test(test_much_is_copied_whole),
	    cmocka_unit_test(test_many_forks_share_one_piece),
	    cmocka_unit_test(test_no_mappings_are_left),
	    cmocka_unit_test(test_a_slice_is_what_its_runs_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
