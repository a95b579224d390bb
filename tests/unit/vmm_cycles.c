/* Restored again and again, from one file and each from the last one's, a guest finds every byte of
 * its memory and every register as it left them. Needs /dev/kvm. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template.h"

#define CYCLES 100u

/* Rounds that each vCPU has done, a word each. */
#define ROUNDS 0x9000u
/* Each vCPU has 16 KiB, 64 KiB apart, and uses the first word of every 64 bytes there. */
#define AREA(vcpu) (0x20000u + 0x10000u * (vcpu))

/*
 * Each vCPU keeps the sum of its words in a register. A round changes one word, which a
 * generator of random numbers chooses, and the sum with it, then adds up all words: when that is
 * another sum the guest says `!` and is off. The first vCPU starts the others at the beginning of
 * this code.
 */
PAYLOAD(summer, "mov %cs, %ax; mov %ax, %ds\n"
		"mov $0x1b, %ecx; rdmsr; mov %eax, %ebx; or $0xc00, %eax; wrmsr\n"
		"test $0x100, %ebx; jz 1f\n"
		"xor %edx, %edx; mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
		"mov $0x830, %ecx; mov $0xc4500, %eax; wrmsr; mov $0xc4608, %eax; wrmsr\n" PRINT(
		    ".") "1: mov $0x802, %ecx; rdmsr; mov %eax, %ebp; shl $12, %ax\n"
			 "add $0x2000, %ax; mov %ax, %es\n"
			 "lea 1(%ebp), %esi; xor %ebx, %ebx\n"
			 "2: lea 1(%esi,%esi,4), %esi; mov %esi, %edi; shr $16, %edi\n"
			 "and $0x3fc0, %di; sub %es:(%di), %ebx; mov %esi, %es:(%di)\n"
			 "add %esi, %ebx; xor %edx, %edx; xor %di, %di\n"
			 "3: add %es:(%di), %edx; add $64, %di; cmp $0x4000, %di; jne 3b\n"
			 "cmp %ebx, %edx; jne 4f\n"
			 "incl 0x1000(,%ebp,4); jmp 2b\n"
			 "4: " PRINT("!") POWER_OFF FOREVER);

static struct pv_err err = PV_ERR_INIT;

static void ok(int code)
{
	if (code < 0)
		fail_msg("%s", err.text);
}

static void check_runs(struct guest *guest, struct pv_machine *machine)
{
	pv_loop_lock(guest->loop);
	const bool stopped = pv_machine_state(machine) == PV_MACHINE_STOPPED;
	const bool complains = memchr(guest->console, '!', guest->console_len) != NULL;
	pv_loop_unlock(guest->loop);
	if (stopped || complains)
		fail_msg("a sum was wrong: %s", pv_machine_stop_reason(machine)->text);
}

/* Until every vCPU has done two rounds more, of which one began and ended here. */
static void wait_for_rounds(struct guest *guest, struct pv_machine *machine)
{
	uint32_t before[8];
	const int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	for (unsigned i = 0; i < guest->config.cpus; i++)
		before[i] = machine_peek(machine, ROUNDS + 4 * i);
	for (unsigned i = 0; i < guest->config.cpus; i++) {
		while (machine_peek(machine, ROUNDS + 4 * i) - before[i] < 2) {
			assert_true(pv_clock_now() < deadline);
			check_runs(guest, machine);
			poll(NULL, 0, 1);
		}
	}
	check_runs(guest, machine);
}

static struct pv_machine *restore_file(struct guest *guest, const char *path)
{
	struct pv_template *template = NULL;
	ok(pv_template_open(&template, path, true, &err));
	struct pv_machine *machine = machine_restore(guest, template);
	pv_template_unref(template);
	return machine;
}

static void start(struct guest *guest, unsigned cpus)
{
	guest->config.cpus = cpus;
	guest_start(guest, summer, summer_end);
	guest_wait_console(guest, ".");
	wait_for_rounds(guest, guest->machine);
	machine_pause(guest->machine);
}

static void save(struct pv_machine *machine, const char *path)
{
	struct pv_template *template = NULL;
	ok(pv_machine_freeze(machine, &template, &err));
	ok(pv_template_write(template, path, NULL, &err));
	pv_template_unref(template);
}

static void make_path(char *path, size_t size)
{
	snprintf(path, size, "/tmp/provium-cycles-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
}

/* A word that is not as the guest left it is noticed, or the tests below prove nothing. */
static void test_a_changed_word_is_noticed(void **state)
{
	struct guest *guest = *state;
	start(guest, 2);
	const uint64_t gpa = AREA(1) + 0x1240;
	const uint32_t wrong = machine_peek(guest->machine, gpa) ^ 1;
	ok(pv_gmem_write(pv_machine_memory(guest->machine), gpa, &wrong, 4));
	machine_resume(guest->machine);
	guest_wait_console(guest, "!");
	guest_wait_stopped(guest);
}

static void cycle_one_file(struct guest *guest, unsigned cpus)
{
	char path[64];
	make_path(path, sizeof(path));
	start(guest, cpus);
	save(guest->machine, path);
	const uint32_t saved = machine_peek(guest->machine, ROUNDS);
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;
	for (unsigned i = 0; i < CYCLES; i++) {
		guest->machine = restore_file(guest, path);
		assert_int_equal(machine_peek(guest->machine, ROUNDS), saved);
		machine_resume(guest->machine);
		wait_for_rounds(guest, guest->machine);
		pv_machine_destroy(guest->machine);
		guest->machine = NULL;
	}
	unlink(path);
	assert_int_equal(guest->stops, 0);
}

static void test_one_file_a_hundred_times(void **state)
{
	cycle_one_file(*state, 1);
}

static void test_one_file_a_hundred_times_with_four_vcpus(void **state)
{
	cycle_one_file(*state, 4);
}

/* Every fourth goes through a file, the others through memory; rewinds in between. */
static void chain(struct guest *guest, unsigned cpus)
{
	char path[64];
	make_path(path, sizeof(path));
	start(guest, cpus);
	for (unsigned i = 0; i < CYCLES; i++) {
		struct pv_template *template = NULL;
		struct pv_machine *next;
		if (i % 4 == 0) {
			save(guest->machine, path);
			next = restore_file(guest, path);
		} else {
			ok(pv_machine_freeze(guest->machine, &template, &err));
			next = machine_restore(guest, template);
		}
		pv_template_unref(template);
		pv_machine_destroy(guest->machine);
		guest->machine = next;
		const uint32_t saved = machine_peek(next, ROUNDS);
		machine_resume(next);
		wait_for_rounds(guest, next);
		machine_pause(next);
		if (i % 3 != 0)
			continue;
		ok(pv_machine_rewind(next, &err));
		assert_int_equal(machine_peek(next, ROUNDS), saved);
		machine_resume(next);
		wait_for_rounds(guest, next);
		machine_pause(next);
	}
	unlink(path);
	assert_true(machine_peek(guest->machine, ROUNDS) > 2 * CYCLES);
	assert_int_equal(guest->stops, 0);
}

static void test_a_chain_of_a_hundred(void **state)
{
	chain(*state, 1);
}

static void test_a_chain_of_a_hundred_with_four_vcpus(void **state)
{
	chain(*state, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_changed_word_is_noticed),
	    TEST(test_one_file_a_hundred_times),
	    TEST(test_one_file_a_hundred_times_with_four_vcpus),
	    TEST(test_a_chain_of_a_hundred),
	    TEST(test_a_chain_of_a_hundred_with_four_vcpus),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
