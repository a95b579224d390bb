/*
 * Durations and sizes: what people write, and each way to write it wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/units.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static void durations_parse_exactly(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} cases[] = {
	    {"0s",				       0	    },
	    {"1ms",				      MS	      },
	    {"500ms",				    500 * MS },
	    {"1.5s",				     1500 * MS},
	    {"0.1s",				     100 * MS },
	    {"0.000000001s",			     1	      },
	    {"0.0000000009s",			      0	       },
	    {"0.000001ms",			       1	    },
	    {"2m",				       120 * S  },
	    {"0.5m",				     30 * S   },
	    {"1h",				       3600 * S },
	    {"1.25h",				    4500 * S },
	    {"007s",				     7 * S	  },
	    {"1.0000000000000000000000000000000000009s", S	  },
	    {"9223372036.854775807s",		      INT64_MAX},
	    {"9223372036.854775808s",		      INT64_MAX},
	    {"99999999999999999999999999999999999h",     INT64_MAX},
	    {"18446744073709551616ms",		       INT64_MAX},
	    {"18446744073709551615999ms",		  INT64_MAX},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ns = -1;
		assert_int_equal(pv_units_duration(cases[i].text, &ns), 0);
		assert_true(ns == cases[i].ns);
	}
}

static void broken_durations_are_refused(void **state)
{
	static const char *const cases[] = {"", "s", "1", "1.", "1.s", ".5s", "-1s", "+1s", " 1s",
	    "1 s", "1s ", "1S", "1sec", "1us", "1.5.5s", "1,5s", "1e3s", "infs", "nans", "0x1s",
	    "1ms2s"};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ns = 42;
		assert_int_equal(pv_units_duration(cases[i], &ns), -EINVAL);
		assert_true(ns == 42);
	}
}

static void seconds_convert_rounded_and_saturated(void **state)
{
	int64_t ns = -1;
	assert_true(pv_units_seconds(0, &ns) && ns == 0);
	assert_true(pv_units_seconds(-0.0, &ns) && ns == 0);
	assert_true(pv_units_seconds(0.3, &ns) && ns == 300 * (int64_t)MS);
	assert_true(pv_units_seconds(1.1, &ns) && ns == 1100 * (int64_t)MS);
	/* A little less than 1001000000 in binary. */
	assert_true(pv_units_seconds(1.001, &ns) && ns == 1001 * (int64_t)MS);
	assert_true(pv_units_seconds(9223372036.0, &ns) && ns < INT64_MAX);
	assert_true(pv_units_seconds(9223372037.0, &ns) && ns == INT64_MAX);
	assert_true(pv_units_seconds(1e300, &ns) && ns == INT64_MAX);
	ns = 42;
	assert_false(pv_units_seconds(-1e-9, &ns));
	assert_false(pv_units_seconds(NAN, &ns));
	assert_false(pv_units_seconds(INFINITY, &ns));
	assert_false(pv_units_seconds(-INFINITY, &ns));
	assert_true(ns == 42);
}

static void sizes_parse_exactly(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
	    {"0",		   0		      },
	    {"512",		    512		       },
	    {"512B",		     512			},
	    {"1k",		   1024		       },
	    {"1K",		   1024		       },
	    {"512M",		     UINT64_C(512) << 20	},
	    {"512MB",		      UINT64_C(512) << 20	 },
	    {"512MiB",	       UINT64_C(512) << 20	  },
	    {"512mib",	       UINT64_C(512) << 20	  },
	    {"2G",		   UINT64_C(2) << 30	    },
	    {"2gb",		    UINT64_C(2) << 30	     },
	    {"3T",		   UINT64_C(3) << 40	    },
	    {"9223372036854775807", INT64_MAX		     },
	    {"8388607T",		 UINT64_C(8388607) << 40},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 42;
		assert_int_equal(pv_units_size(cases[i].text, true, &bytes), 0);
		assert_true(bytes == cases[i].bytes);
	}
}

static void broken_and_impossible_sizes_are_refused(void **state)
{
	static const char *const broken[] = {"", "M", "-1", "+1", " 1", "1 ", "1 M", "1.5G", "1X",
	    "1MM", "1Mi", "1MiBx", "1iB", "1BM", "0x10", "1P"};
	static const char *const large[] = {"9223372036854775808", "18446744073709551616",
	    "99999999999999999999999999", "8388608T", "9007199254740992K", "18014398509481984K"};
	uint64_t bytes = 42;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(pv_units_size(broken[i], true, &bytes), -EINVAL);
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		assert_int_equal(pv_units_size(large[i], true, &bytes), -ERANGE);
	assert_int_equal(pv_units_size("1T", false, &bytes), -EINVAL);
	assert_true(bytes == 42);
	assert_int_equal(pv_units_size("1G", false, &bytes), 0);
}

static void durations_are_shown_as_people_write_them(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} cases[] = {
	    {0,		  "0s"		    },
	    {-5,		 "0s"	     },
	    {1,		  "0.000001ms"	    },
	    {250 * MS,	       "250ms"	      },
	    {1500000,	      "1.5ms"	     },
	    {S,		  "1s"		    },
	    {1500 * MS,		"1.5s"	      },
	    {1050 * MS,		"1.05s"	       },
	    {30 * S,	     "30s"		  },
	    {90 * S,	     "90s"		  },
	    {59 * S + 999900000, "60s"	      },
	    {INT64_MAX,		"9223372036.855s"},
	};
	char out[64];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(
		    pv_units_show_duration(cases[i].ns, out, sizeof(out)), cases[i].text);
	/* A short array is respected. */
	char tiny[4] = "xxx";
	assert_string_equal(pv_units_show_duration(1500 * MS, tiny, sizeof(tiny)), "1.5");
}

static void what_is_shown_parses_back(void **state)
{
	static const int64_t cases[] = {1, 999, 1500000, 999999999, 1001000000, 3600 * (int64_t)S};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char out[64];
		int64_t back = -1;
		pv_units_show_duration(cases[i], out, sizeof(out));
		assert_int_equal(pv_units_duration(out, &back), 0);
		assert_true(back == cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations_parse_exactly),
	    cmocka_unit_test(broken_durations_are_refused),
	    cmocka_unit_test(seconds_convert_rounded_and_saturated),
	    cmocka_unit_test(sizes_parse_exactly),
	    cmocka_unit_test(broken_and_impossible_sizes_are_refused),
	    cmocka_unit_test(durations_are_shown_as_people_write_them),
	    cmocka_unit_test(what_is_shown_parses_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
