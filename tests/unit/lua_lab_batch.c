/*
 * lua/lab_batch.c, lab/lab_batch.c, lab/barrier.c: batch lifecycle and barriers (spec sections 5.3,
 * 5.5).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "base/err.h"
#include "lab/barrier.h"
#include "tests/unit/lua_rig.h"

static void batches_go_into_sub_labs(void **state)
{
	rig_passes(
	    "local a = provium:lab('dc1') local v, w = provium:vm('v', 'tiny'), a:vm('w', 'tiny') "
	    "local deep = a:lab('rack'):vm('x', 'tiny') "
	    "t:assert_eq(provium:boot(), provium) local function all(s) for _, m in ipairs({v, w, "
	    "deep}) do t:assert_eq(m:state(), s) end end all('booted') t:assert_eq(provium:boot(), "
	    "provium) t:assert_eq(provium:pause(), nil) all('paused') provium:pause() "
	    "t:assert_eq(provium:boot(), provium) all('paused') v:resume() "
	    "t:assert_eq(select('#', provium:resume()), 0) all('booted') "
	    "t:assert_eq(select('#', provium:shutdown()), 0) all('shutdown') provium:shutdown()");
	rig_passes("local a = provium:lab('a') local v = provium:vm('v', 'tiny') a:vm('w', 'tiny') "
		   "a:boot() t:assert_eq(v:state(), 'created') a:shutdown() t:assert_eq(v:state(), "
		   "'created')");
	/* Twice a member, once a batch. */
	rig_passes("local a, b = provium:lab('a'), provium:lab('b') local v = a:vm('v', 'tiny') "
		   "b:include({v, a}) provium:include(v) provium:boot() provium:pause() "
		   "provium:resume() t:assert_eq(v:state(), 'booted')");
	rig_expect("provium:vm('out', 'tiny') test('a', function(t) provium:boot() "
		   "t:assert_eq(provium.out:state(), 'created') end)",
	    "passed a\n", NULL);
	rig_passes("provium:lab('empty') provium:boot() provium:pause() provium:resume() "
		   "provium:shutdown()");
}

static void failures_are_reported_together(void **state)
{
	rig_fails("local hang = {kernel_cmdline_append = 'hang'} provium:vm('a', 'tiny') "
		  "provium:lab('dc1'):lab('r'):vm('b', 'tiny', hang) provium:vm('c', 'tiny', "
		  "{kernel_cmdline_append = 'refuse'}) provium:boot()",
	    "case.test.lua:1: batch `boot` failed: {c: vm `c`: kernel `/nowhere`: not there, "
	    "dc1/r/b: vm `b`: agent did not come up within 12s}\nvm `c`:\n"
	    "--- guest console (last bytes) ---\n");
	rig_passes("local a = provium:vm('a', 'tiny') local b = provium:lab('l'):vm('b', 'tiny') "
		   "local c = provium:vm('c', 'tiny'):boot() "
		   "local ok, e = pcall(provium.pause, provium) t:assert_contains(e, "
		   "'batch `pause` failed: {a: vm `a`: state is created (cannot pause), l/b: vm "
		   "`b`: state is created (cannot pause)}') t:assert_eq(c:state(), 'paused') "
		   "ok, e = pcall(provium.resume, provium) t:assert_contains(e, 'batch `resume` "
		   "failed: {a: ') t:assert_eq(c:state(), 'booted') "
		   "provium:shutdown() t:assert_eq(a:state(), 'shutdown')");
	/* However many there are. */
	rig_passes(
	    "for i = 1, 100 do provium:vm('a-vm-with-a-name-' .. i, 'tiny') end "
	    "local ok, e = pcall(provium.pause, provium) "
	    "for i = 1, 100 do t:assert_contains(e, 'a-vm-with-a-name-' .. i .. ': vm') end");
}

static void barriers(void **state)
{
	rig_passes("t:assert_eq(provium:barrier('b', 1), true) t:assert_eq(provium:barrier('b', 1, "
		   "0), true) t:assert_eq(provium:barrier('b', 1.0, 2.5), true) "
		   "t:assert_eq(provium:barrier('two', 2, 0.01), false) "
		   "t:assert_eq(provium:barrier('two', 2, 0), false)");
	rig_expect("test('a', function(t) t:assert_eq(provium:barrier('b', 1), true)\n"
		   "t:assert_eq(provium:barrier('b', 2), false)\n"
		   "t:assert_eq(provium:lab('l'):barrier('b', 3, 0), false)\n"
		   "t:assert_eq(provium:barrier('b', 1), true) end)",
	    "note: ", ":2: barrier `b`: count 2 does not match 1, which its first arrival fixed\n",
	    "passed a\n", NULL);
	rig_fails("provium:barrier('b', 0)", "lab:barrier: count must be at least 1, got 0");
	rig_fails(
	    "provium:barrier('b', '1')", "lab:barrier: count must be a whole number, got string");
	rig_fails("provium:barrier('b', 1.5)", "lab:barrier: count must be a whole number, got");
	rig_fails(
	    "provium:barrier('b')", "lab:barrier: count must be a whole number, got no value");
	rig_fails("provium:barrier()", "lab:barrier: name must be a string, got no value");
	rig_fails("provium:barrier('b', 1, '1s')",
	    "lab:barrier: timeout must be a number of seconds, got string");
	rig_fails("provium:barrier('b', 1, -1)",
	    "duration: must be a finite, non-negative number (got -1)");
	rig_expect("test('a', {timeout = 0.05}, function(t) provium:barrier('b', 2) end)",
	    "failed a: test timeout exceeded (50ms): ", "barrier `b`: ", NULL);
}

static void claims(void **state)
{
	rig_passes("t:assert_eq(provium:claim({memory = 3 * (512 + 100) << 20, cpus = 3}), nil) "
		   "for _, again in ipairs({{}, {cpus = 1}}) do "
		   "local ok, err = pcall(provium.claim, provium, again) t:assert(not ok) "
		   "t:assert_contains(tostring(err), 'claim already held') "
		   "t:assert_contains(tostring(err), 'one-shot') end");
	rig_passes("provium:lab('dc'):claim({memory = '2G'})");
	rig_expect("provium:claim({}) test('a', function(t) provium:claim({}) end)",
	    "failed a: ", "case.test.lua:1: lab:claim: claim already held", NULL);
	rig_fails("provium:claim()", "case.test.lua:1: lab:claim: opts must be a table");
	rig_fails("provium:claim('1G')", "lab:claim: opts must be a table");
	rig_fails("provium:claim({memory = true})", "opts.memory must be int or string, got bool");
	rig_fails("provium:claim({memory = 1.5})", "opts.memory must be int or string, got 1.5");
	rig_fails("provium:claim({memory = -1})", "opts.memory must be int or string, got -1");
	rig_fails("provium:claim({memory = '1Q'})", "opts.memory: cannot parse `1Q`");
	rig_fails("provium:claim({cpus = '1'})", "opts.cpus must be a whole number");
	rig_fails("provium:claim({cpus = -1})", "opts.cpus must be a whole number of processors");
	/* What was refused is not held. */
	rig_passes("pcall(provium.claim, provium, {cpus = -1}) provium:claim({cpus = 1})");
}

struct arrival {
	struct pv_barriers *barriers;
	struct pv_host *host;
	enum pv_barrier_outcome outcome;
};

static void *arrive(void *ctx)
{
	struct arrival *arrival = ctx;
	struct pv_err err = PV_ERR_INIT;
	int64_t fixed;
	assert_int_equal(pv_barrier_arrive(arrival->barriers, arrival->host, "x", 2, PV_CLOCK_NEVER,
			     &arrival->outcome, &fixed, &err),
	    0);
	return NULL;
}

/* Whoever is first waits for the other. */
static void a_round_ends_for_all(void **state)
{
	struct lua_rig rig;
	struct pv_barriers barriers = {0};
	pthread_t thread;
	rig_init(&rig);
	struct arrival here = {&barriers, &rig.host, PV_BARRIER_LATE}, there = here;
	for (int round = 0; round < 3; round++) {
		here.outcome = there.outcome = PV_BARRIER_LATE;
		assert_int_equal(pthread_create(&thread, NULL, arrive, &there), 0);
		arrive(&here);
		pthread_join(thread, NULL);
		assert_int_equal(here.outcome, PV_BARRIER_MET);
		assert_int_equal(there.outcome, PV_BARRIER_MET);
	}
	pv_barriers_finish(&barriers);
	rig_finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(batches_go_into_sub_labs),
	    cmocka_unit_test(failures_are_reported_together),
	    cmocka_unit_test(barriers),
	    cmocka_unit_test(claims),
	    cmocka_unit_test(a_round_ends_for_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
