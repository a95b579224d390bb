/* What a snapshot holds: saved again it is the same to the byte, and a computation that goes on
 * from it notices nothing. Needs /dev/kvm. */
#include "vmm/template.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template_private.h"

/* Counts in memory at 0x9000 and says `.` once. */
PAYLOAD(counter, PRINT(".") "1: incl 0x1000; jmp 1b");

/*
 * Keeps values in SSE registers (what KVM's emulator knows of them is loads and stores), and checks
 * them in every turn; says `!` and stops when one is wrong. At 0x9000 it tells how far it is.
 */
PAYLOAD(vectors, "mov %cr4, %eax; or $0x600, %eax; mov %eax, %cr4\n"
		 "mov %cr0, %eax; and $0xfffffffb, %eax; or $2, %eax; mov %eax, %cr0\n"
		 "xor %ebx, %ebx; movl $0x11111111, 0x800; movl $0x22222222, 0x80c\n"
		 "movups 0x800, %xmm0; movups 0x800, %xmm7; movl $0, 0x800; movl $0, 0x80c\n" PRINT(
		     ".") "1: movups %xmm0, 0x810; movups %xmm7, 0x820\n"
			  "cmpl $0x11111111, 0x810; jne 2f; cmpl $0x22222222, 0x82c; jne 2f\n"
			  "inc %ebx; mov %ebx, 0x1000; jmp 1b\n"
			  "2: " PRINT("!") POWER_OFF FOREVER);

/*
 * The interval timer ticks through the PIC at 100 Hz; the handler counts at 0x9000 and prints a
 * letter at the first tick.
 */
PAYLOAD(ticker,
    "xor %ax, %ax; mov %ax, %es; mov %ax, %ss; mov $0x7000, %sp\n"
    "movw $(tick - ticker), %es:0x20*4; mov %cs, %ax; mov %ax, %es:0x20*4+2\n"
    "mov $0x11, %al; out %al, $0x20; out %al, $0xa0; mov $0x20, %al; out %al, $0x21\n"
    "mov $0x28, %al; out %al, $0xa1; mov $4, %al; out %al, $0x21; mov $2, %al; out %al, $0xa1\n"
    "mov $1, %al; out %al, $0x21; out %al, $0xa1; mov $0xfe, %al; out %al, $0x21\n"
    "mov $0x34, %al; out %al, $0x43; mov $0x9c, %al; out %al, $0x40; mov $0x2e, %al; out %al, "
    "$0x40\n" PRINT(
	".") "sti; 1: pause; jmp 1b\n"
	     "tick: push %ax; incl %cs:0x1000; mov $0x20, %al; out %al, $0x20; pop %ax; iret\n");

/*
 * The local APIC's timer (in x2APIC mode, which real mode reaches) ticks 100 times a second; the
 * handler counts at 0x9000.
 */
PAYLOAD(local_ticker,
    "xor %ax, %ax; mov %ax, %es; mov %ax, %ss; mov $0x7000, %sp\n"
    "movw $(local_tick - local_ticker), %es:0x30*4; mov %cs, %ax; mov %ax, %es:0x30*4+2\n"
    "mov $0xff, %al; out %al, $0x21; out %al, $0xa1\n"
    "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr; xor %edx, %edx\n"
    "mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
    "mov $0x83e, %ecx; mov $0xb, %eax; wrmsr\n"
    "mov $0x832, %ecx; mov $0x20030, %eax; wrmsr\n"
    "mov $0x838, %ecx; mov $10000000, %eax; wrmsr\n" PRINT(
	".") "sti; 1: pause; jmp 1b\n"
	     "local_tick: incl %cs:0x1000; xor %edx, %edx; mov $0x80b, %ecx; xor %eax, %eax; "
	     "wrmsr; iret\n");

/*
 * All vCPUs count, each in its own word from 0x9000 on. The first one starts the others, at the
 * beginning of this code, by messages from its local APIC.
 */
PAYLOAD(crowd, "mov %cs, %ax; mov %ax, %ds\n"
	       "mov $0x1b, %ecx; rdmsr; mov %eax, %ebx; or $0xc00, %eax; wrmsr\n"
	       "test $0x100, %ebx; jz 1f\n"
	       "xor %edx, %edx; mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
	       "mov $0x830, %ecx; mov $0xc4500, %eax; wrmsr; mov $0xc4608, %eax; wrmsr\n" PRINT(
		   ".") "1: mov $0x802, %ecx; rdmsr; shl $2, %eax; mov %eax, %ebx\n"
			"2: incl 0x1000(%bx); jmp 2b");

/* Prints the letters of the alphabet round and round, and reads what is typed into 0x9000. */
PAYLOAD(talker, "mov $0x3f9, %dx; mov $1, %al; out %al, %dx; mov $0x3f8, %dx\n"
		"1: mov $'a', %al; 2: out %al, %dx; inc %al; cmp $'z'+1, %al; jne 2b; incl 0x1000; "
		"jmp 1b");

static void assert_same_state(const struct pv_template *a, const struct pv_template *b)
{
	size_t at = 0;
	size_t least = a->state.len < b->state.len ? a->state.len : b->state.len;
	while (at < least && a->state.data[at] == b->state.data[at])
		at++;
	if (at == least && a->state.len == b->state.len)
		return;
	for (unsigned k = 0; k < a->vcpus[0].msr_count; k++) {
		const struct kvm_msr_entry *x = &a->vcpus[0].msrs[k];
		const struct kvm_msr_entry *y = &b->vcpus[0].msrs[k];
		if (x->index != y->index || x->data != y->data)
			print_error("MSR %#x: %#llx, then %#llx\n", x->index,
			    (unsigned long long)x->data, (unsigned long long)y->data);
	}
	for (size_t i = 0; i < sizeof(struct pv_vcpu_state) && a->cpus == b->cpus; i++) {
		for (unsigned k = 0; k < a->cpus; k++) {
			if (((uint8_t *)&a->vcpus[k])[i] != ((uint8_t *)&b->vcpus[k])[i])
				fail_msg("vCPU %u differs at offset %zu of its state", k, i);
		}
	}
	fail_msg("states of %zu and %zu bytes differ at %zu", a->state.len, b->state.len, at);
}

static void run_and_pause(struct guest *guest)
{
	guest_wait_console(guest, ".");
	machine_wait_progress(guest->machine);
	machine_pause(guest->machine);
}

/* Saves, restores into a fresh machine, saves that, lets it go on. */
static void check_self(struct guest *guest)
{
	struct pv_err err = PV_ERR_INIT;
	run_and_pause(guest);
	struct pv_template *first = machine_freeze(guest->machine);
	struct pv_machine *other = machine_restore(guest, first);
	poll(NULL, 0, 20); /* longer than any timer of a payload */
	struct pv_template *second = machine_freeze(other);
	assert_same_state(first, second);
	/* And into a used one. */
	machine_resume(other);
	machine_wait_progress(other);
	machine_pause(other);
	if (pv_machine_rewind(other, &err) < 0)
		fail_msg("%s", err.text);
	struct pv_template *third = machine_freeze(other);
	assert_same_state(first, third);
	machine_resume(other);
	machine_resume(guest->machine);
	machine_wait_progress(other);
	machine_wait_progress(guest->machine);
	pv_machine_destroy(other);
	pv_template_unref(first);
	pv_template_unref(second);
	pv_template_unref(third);
	assert_int_equal(guest->stops, 0);
}

static void test_saved_again_is_the_same(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, counter, counter_end);
	check_self(guest);
}

static void test_saved_again_is_the_same_with_two_vcpus(void **state)
{
	struct guest *guest = *state;
	guest->config.cpus = 2;
	guest_start(guest, counter, counter_end);
	check_self(guest);
}

static void wait_for_all(struct pv_machine *machine)
{
	uint32_t before[4];
	const int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	for (unsigned i = 0; i < 4; i++)
		before[i] = machine_peek(machine, 0x9000 + 4 * i);
	for (unsigned i = 0; i < 4; i++) {
		while (machine_peek(machine, 0x9000 + 4 * i) == before[i]) {
			assert_true(pv_clock_now() < deadline);
			poll(NULL, 0, 1);
		}
	}
}

/* Often more than the host has. */
static void test_four_busy_vcpus_go_on(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest->config.cpus = 4;
	guest_start(guest, crowd, crowd_end);
	guest_wait_console(guest, ".");
	wait_for_all(guest->machine);
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	struct pv_template *template = machine_freeze(guest->machine);
	for (unsigned i = 0; i < 3; i++) {
		struct pv_machine *machine = machine_restore(guest, template);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(machine_peek(machine, 0x9000 + 4 * k),
			    machine_peek(guest->machine, 0x9000 + 4 * k));
		struct pv_template *again = machine_freeze(machine);
		assert_same_state(template, again);
		pv_template_unref(again);
		assert_int_equal(pv_machine_resume(machine, &err), 0);
		wait_for_all(machine);
		assert_int_equal(pv_machine_pause(machine, &err), 0);
		assert_int_equal(pv_machine_rewind(machine, &err), 0);
		assert_int_equal(pv_machine_resume(machine, &err), 0);
		wait_for_all(machine);
		pv_machine_destroy(machine);
	}
	pv_template_unref(template);
	assert_int_equal(guest->stops, 0);
}

/* As many vCPUs as the processors of this host and twice two more; the others wait to be started.
 */
static void test_more_vcpus_than_processors(void **state)
{
	struct guest *guest = *state;
	const long processors = sysconf(_SC_NPROCESSORS_ONLN);
	guest->config.cpus = processors > 0 && processors < 28 ? (unsigned)processors + 4 : 32;
	guest_start(guest, counter, counter_end);
	check_self(guest);
}

static void test_saved_again_is_the_same_without_devices(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest->config.no_devices = true;
	guest->config.cpus = 2;
	guest_start(guest, counter, counter_end);
	machine_wait_progress(guest->machine);
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	struct pv_template *first = machine_freeze(guest->machine);
	struct pv_machine *other = machine_restore(guest, first);
	struct pv_template *second = machine_freeze(other);
	assert_same_state(first, second);
	assert_int_equal(pv_machine_resume(other, &err), 0);
	machine_wait_progress(other);
	pv_machine_destroy(other);
	pv_template_unref(first);
	pv_template_unref(second);
}

static void test_saved_again_is_the_same_with_high_memory(void **state)
{
	struct guest *guest = *state;
	guest->config.memory_bytes = (UINT64_C(3) << 30) + (64 << 20);
	guest_start(guest, counter, counter_end);
	check_self(guest);
}

static void test_a_ticking_timer_ticks_on(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, ticker, ticker_end);
	check_self(guest);
}

static void test_sse_goes_on(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, vectors, vectors_end);
	run_and_pause(guest);
	struct pv_template *template = machine_freeze(guest->machine);
	for (unsigned i = 0; i < 20; i++) {
		struct pv_machine *machine = machine_restore(guest, template);
		pv_template_unref(template);
		assert_int_equal(pv_machine_resume(machine, &err), 0);
		machine_wait_progress(machine);
		assert_int_equal(pv_machine_pause(machine, &err), 0);
		template = machine_freeze(machine);
		pv_machine_destroy(machine);
	}
	pv_template_unref(template);
	assert_int_equal(guest->stops, 0);
}

static void test_a_ticking_local_timer_ticks_on(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, local_ticker, local_ticker_end);
	check_self(guest);
}

/* Registers that no emulated instruction reaches: as far as the processor has them. */
static void test_all_fpu_state_comes_back(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, counter, counter_end);
	run_and_pause(guest);
	struct pv_vcpu_state *vcpu = calloc(1, sizeof(*vcpu));
	assert_non_null(vcpu);
	const int fd = guest->machine->vm.vcpus[0].fd;
	assert_int_equal(pv_vcpu_state_save(vcpu, &guest->kvm, &guest->machine->vm, 0, &err), 0);
	struct kvm_xcrs xcrs = vcpu->xcrs;
	xcrs.xcrs[0].value |= 7; /* x87, SSE, AVX */
	const bool has_avx = ioctl(fd, KVM_SET_XCRS, &xcrs) == 0;
	if (!has_avx)
		print_message("without AVX: this KVM does not take XCR0 = 7\n");
	const uint64_t wanted = has_avx ? 7 : 3;
	for (unsigned i = 0; i < 8; i++)
		memset(vcpu->xsave + 32 + 16 * i, 0x30 + (int)i, 10);
	for (unsigned i = 0; i < 16; i++)
		memset(vcpu->xsave + 160 + 16 * i, 0x40 + (int)i, 16);
	for (unsigned i = 0; i < 16 && (wanted & 4); i++)
		memset(vcpu->xsave + 576 + 16 * i, 0x60 + (int)i, 16);
	memcpy(vcpu->xsave + 512, &wanted, sizeof(wanted));
	assert_int_equal(ioctl(fd, KVM_SET_XSAVE, vcpu->xsave), 0);
	struct pv_template *template = machine_freeze(guest->machine);
	assert_memory_equal(template->vcpus[0].xsave + 32, vcpu->xsave + 32, 8 * 16 - 6);
	if (has_avx)
		assert_memory_equal(template->vcpus[0].xsave + 576, vcpu->xsave + 576, 256);
	struct pv_machine *other = machine_restore(guest, template);
	assert_int_equal(pv_machine_resume(other, &err), 0);
	machine_wait_progress(other);
	assert_int_equal(pv_machine_pause(other, &err), 0);
	struct pv_template *later = machine_freeze(other);
	assert_memory_equal(later->vcpus[0].xsave, template->vcpus[0].xsave, 576 + 256);
	free(vcpu);
	pv_template_unref(later);
	pv_template_unref(template);
	pv_machine_destroy(other);
}

static void test_the_serial_port_goes_on_where_it_was(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, talker, talker_end);
	guest_wait_console(guest, "z");
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	pv_loop_lock(guest->loop);
	assert_int_equal(pv_machine_console_input(guest->machine, "0123456789abcdefghij", 20), 20);
	pv_loop_unlock(guest->loop);
	struct pv_template *template = machine_freeze(guest->machine);
	pv_machine_destroy(guest->machine);
	guest->machine = machine_restore(guest, template);
	assert_true(guest->machine->serial.irq_level == false);
	assert_int_equal(guest->machine->serial.fifo_count + guest->machine->serial.input.len, 20);
	struct pv_template *again = machine_freeze(guest->machine);
	assert_same_state(template, again);
	pv_template_unref(again);
	pv_template_unref(template);
	pv_loop_lock(guest->loop);
	guest->console_len = guest->console_len % 26;
	const char last = guest->console_len ? guest->console[guest->console_len - 1] : 'z';
	guest->console_len = 0;
	pv_loop_unlock(guest->loop);
	assert_int_equal(pv_machine_resume(guest->machine, &err), 0);
	const char next[] = {last == 'z' ? 'a' : (char)(last + 1), 0};
	guest_wait_console(guest, "z");
	pv_loop_lock(guest->loop);
	assert_int_equal(guest->console[0], next[0]);
	pv_loop_unlock(guest->loop);
}

static int64_t guest_time(struct guest *guest, struct pv_machine *machine)
{
	pv_loop_lock(guest->loop);
	int64_t now = pv_guest_clock_now(&machine->clock);
	pv_loop_unlock(guest->loop);
	return now;
}

static void test_time_stands_still_or_jumps(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	const int64_t begin = 1000000000 * PV_CLOCK_SECOND;
	guest->config.initial_time_ns = &begin;
	guest_start(guest, counter, counter_end);
	run_and_pause(guest);
	const int64_t paused = guest_time(guest, guest->machine);
	struct pv_template *template = machine_freeze(guest->machine);
	poll(NULL, 0, 20);
	struct pv_machine *still = machine_restore(guest, template);
	assert_int_equal(guest_time(guest, still), paused);
	const int64_t before = pv_clock_wall();
	struct pv_machine *jumped = NULL;
	const struct pv_machine_restore now = {.boot = &guest->config, .clock_now = true};
	assert_int_equal(
	    pv_machine_restore(&jumped, &guest->kvm, guest->loop, template, &now, &err), 0);
	assert_true(guest_time(guest, jumped) >= before);
	assert_true(guest_time(guest, jumped) <= pv_clock_wall());
	/* The date alone, and to whatever it is told. */
	pv_loop_lock(guest->loop);
	const uint64_t lived = pv_guest_clock_elapsed(&still->clock);
	assert_int_equal(pv_guest_clock_elapsed(&jumped->clock), lived);
	pv_loop_unlock(guest->loop);
	assert_int_equal(pv_machine_set_date(jumped, begin, &err), 0);
	pv_loop_lock(guest->loop);
	assert_int_equal(pv_guest_clock_elapsed(&jumped->clock), lived);
	pv_loop_unlock(guest->loop);
	assert_int_equal(guest_time(guest, jumped), begin);
	pv_machine_destroy(still);
	pv_machine_destroy(jumped);
	pv_template_unref(template);
}

static void test_the_owner_has_a_section_of_its_own(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	size_t len = 1;
	guest_start(guest, counter, counter_end);
	run_and_pause(guest);
	struct pv_template *template = machine_freeze(guest->machine);
	assert_null(pv_template_owner(template, &len));
	assert_int_equal(len, 0);
	assert_int_equal(pv_template_set_owner(template, "name", 4, &err), 0);
	assert_memory_equal(pv_template_owner(template, &len), "name", 4);
	assert_int_equal(len, 4);
	pv_template_unref(template);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_saved_again_is_the_same),
	    TEST(test_saved_again_is_the_same_with_two_vcpus),
	    TEST(test_four_busy_vcpus_go_on),
	    TEST(test_more_vcpus_than_processors),
	    TEST(test_saved_again_is_the_same_without_devices),
	    TEST(test_saved_again_is_the_same_with_high_memory),
	    TEST(test_a_ticking_timer_ticks_on),
	    TEST(test_a_ticking_local_timer_ticks_on),
	    TEST(test_sse_goes_on),
	    TEST(test_all_fpu_state_comes_back),
	    TEST(test_the_serial_port_goes_on_where_it_was),
	    TEST(test_time_stands_still_or_jumps),
	    TEST(test_the_owner_has_a_section_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
