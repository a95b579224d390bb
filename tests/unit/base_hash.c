/* Content hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"

/* From Python's hashlib.blake2b(digest_size=32), another implementation. */
static void known_contents_have_known_hashes(void **state)
{
	char text[PV_HASH_TEXT];
	assert_string_equal(pv_hash_of(NULL, 0, text),
	    "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
	assert_string_equal(pv_hash_of("abc", 3, text),
	    "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	uint8_t long_one[1000];
	for (size_t i = 0; i < sizeof(long_one); i++)
		long_one[i] = (uint8_t)i;
	assert_string_equal(pv_hash_of(long_one, sizeof(long_one), text),
	    "c636324d47d89f2b2434dc2c994100663fbbaea880ff020fc5de89dd0f77a1ec");
}

static void pieces_make_no_difference(void **state)
{
	uint8_t data[1000];
	char whole[PV_HASH_TEXT], text[PV_HASH_TEXT];
	memset(data, 'x', sizeof(data));
	pv_hash_of(data, sizeof(data), whole);
	for (size_t step = 1; step < sizeof(data); step += 37) {
		struct pv_hash hash;
		pv_hash_init(&hash);
		for (size_t at = 0; at < sizeof(data); at += step)
			pv_hash_update(
			    &hash, data + at, sizeof(data) - at < step ? sizeof(data) - at : step);
		pv_hash_update(&hash, NULL, 0);
		assert_string_equal(pv_hash_finish(&hash, text), whole);
	}
}

static void a_copy_goes_its_own_way(void **state)
{
	struct pv_hash hash, copy;
	char text[PV_HASH_TEXT], expected[PV_HASH_TEXT];
	pv_hash_init(&hash);
	pv_hash_update(&hash, "ab", 2);
	copy = hash;
	pv_hash_update(&hash, "x", 1);
	pv_hash_update(&copy, "c", 1);
	pv_hash_of("abc", 3, expected);
	assert_string_equal(pv_hash_finish(&copy, text), expected);
	assert_string_not_equal(pv_hash_finish(&hash, text), expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_contents_have_known_hashes),
	    cmocka_unit_test(pieces_make_no_difference),
	    cmocka_unit_test(a_copy_goes_its_own_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
