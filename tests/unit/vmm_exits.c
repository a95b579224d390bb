/* What the machine answers to a running vCPU: ports, memory, MSRs, resets, power-off and crashes.
 * Needs /dev/kvm. */
#include "payload_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <linux/kvm.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "vmm/machine_private.h"

PAYLOAD(hello, PRINT("h") PRINT("i") POWER_OFF FOREVER);

static void test_port_writes_reach_the_console_and_power_off_ends(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, hello, hello_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_POWER_OFF);
	assert_int_equal(guest->console_len, 2);
	assert_memory_equal(guest->console, "hi", 2);
	assert_int_equal(guest_state(guest), PV_MACHINE_STOPPED);
}

PAYLOAD(string_out,
    "mov $(string_text - string_out), %si; mov $26, %cx; mov $0x3f8, %dx\n"
    "cld; rep outsb\n" POWER_OFF FOREVER "string_text: .ascii \"abcdefghijklmnopqrstuvwxyz\"");

static void test_string_output_keeps_order_and_count(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, string_out, string_out_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->console_len, 26);
	assert_memory_equal(guest->console, "abcdefghijklmnopqrstuvwxyz", 26);
}

/* Reads the scratch register 40 times into memory and sends it back. */
PAYLOAD(string_in,
    "mov $0x3ff, %dx; mov $'s', %al; out %al, %dx\n"
    "mov $0x1000, %di; mov $40, %cx; cld; rep insb\n"
    "mov $0x1000, %si; mov $40, %cx; mov $0x3f8, %dx; rep outsb\n" POWER_OFF FOREVER);

static void test_string_input_fills_every_byte(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, string_in, string_in_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->console_len, 40);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(guest->console[i], 's');
}

/* Opens the memory window of the console's PCI function, then writes and reads its status register.
 */
PAYLOAD(memory_io, "mov $0xcf8, %dx; mov $(0x80000000 | 30 << 11 | 4), %eax; out %eax, %dx\n"
		   "mov $0xcfc, %dx; mov $2, %ax; out %ax, %dx\n"
		   "lgdtl memory_gdt_pointer - memory_io\n"
		   "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; jmp 1f\n"
		   "1: mov $8, %ax; mov %ax, %fs\n"
		   "mov $(0xc0000000 + 30 * 0x10000 + 0x14), %ebx\n"
		   "movb $1, %fs:(%ebx); movb %fs:(%ebx), %al; add $'0', %al\n"
		   "mov $0x3f8, %dx; out %al, %dx\n"
		   "mov $0xd8000000, %ebx; movb %fs:(%ebx), %al; cmp $0xff, %al; jne 2f\n" PRINT(
		       "!") "2:" POWER_OFF FOREVER ".balign 8\n"
			    "memory_gdt: .quad 0, 0x00cf93000000ffff\n"
			    "memory_gdt_pointer: .word 15; .long memory_gdt - memory_io + 0x8000");

static void test_memory_accesses_reach_the_device(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, memory_io, memory_io_end);
	guest_wait_stopped(guest);
	guest->console[guest->console_len] = '\0';
	assert_string_equal(guest->console, "1!");
}

/* Addresses the console's function after 2000 others, more than are collected, and sends a byte of
 * its identity. */
PAYLOAD(addresser,
    "mov $0xcf8, %dx; mov $2000, %ecx\n"
    "1: mov $0x80000000, %eax; out %eax, %dx; loopl 1b\n"
    "mov $(0x80000000 | 30 << 11), %eax; out %eax, %dx\n"
    "mov $0xcfc, %dx; in %dx, %al; mov $0x3f8, %dx; out %al, %dx\n" POWER_OFF FOREVER);

static void test_addresses_of_configuration_space_are_collected(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, addresser, addresser_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->console_len, 1);
	assert_int_equal((uint8_t)guest->console[0], 0xf4);
	if (guest->machine->vm.coalesced)
		assert_in_range(guest->machine->crew.vcpus[0].exits[KVM_EXIT_IO], 3, 100);
}

/* Sends year and century of the RTC. */
PAYLOAD(clock_reader,
    "mov $9, %al; out %al, $0x70; in $0x71, %al; mov $0x3f8, %dx; out %al, %dx\n"
    "mov $0x32, %al; out %al, $0x70; in $0x71, %al; mov $0x3f8, %dx; out %al, %dx\n"
    /* kvmclock's wall time to 0x9000. */
    "mov $0x11, %ecx; mov $0x9000, %eax; xor %edx, %edx; wrmsr\n" POWER_OFF FOREVER);

static void test_initial_time_holds_in_rtc_and_kvmclock(void **state)
{
	struct guest *guest = *state;
	guest_need_kvm(guest);
	/* 1999-06-01 00:00:00.25 UTC */
	const int64_t start = INT64_C(928195200) * PV_CLOCK_SECOND + 250000000;
	guest->config.initial_time_ns = &start;
	guest_start(guest, clock_reader, clock_reader_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_POWER_OFF);
	assert_int_equal((uint8_t)guest->console[0], 0x99);
	assert_int_equal((uint8_t)guest->console[1], 0x19);
	if (!guest->kvm.has_user_msr)
		return;
	uint8_t record[12];
	assert_int_equal(
	    pv_gmem_read(pv_machine_memory(guest->machine), 0x9000, record, sizeof(record)), 0);
	assert_int_equal(pv_le32(record) & 1, 0);
	assert_int_equal(pv_le32(record + 4), 928195200);
	assert_int_equal(pv_le32(record + 8), 250000000);
}

/* CMOS memory outlives a reset, RAM does not: 0x50 tells the second run from the first. */
PAYLOAD(rebooter,
    "mov $0x50, %al; out %al, $0x70; in $0x71, %al; test %al, %al; jnz 1f\n"
    "mov $1, %al; out %al, $0x71\n"
    "movb $7, 0x1000\n" PRINT(
	"a") "mov $0xfe, %al; out %al, $0x64\n" FOREVER
	     "1: mov 0x1000, %al; add $'0', %al; mov $0x3f8, %dx; out %al, %dx\n" POWER_OFF
		 FOREVER);

static void test_keyboard_reset_runs_the_payload_again_in_clear_memory(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, rebooter, rebooter_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->reboots, 1);
	assert_int_equal(guest->console_len, 2);
	assert_memory_equal(guest->console, "a0", 2);
}

PAYLOAD(acpi_rebooter, "mov $0x50, %al; out %al, $0x70; in $0x71, %al; test %al, %al; jnz 1f\n"
		       "mov $1, %al; out %al, $0x71\n" PRINT(
			   "a") "mov $0x640, %dx; mov $1, %al; out %al, %dx\n" FOREVER
				"1:" PRINT("b") POWER_OFF FOREVER);

static void test_acpi_reset_register_reboots(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, acpi_rebooter, acpi_rebooter_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->reboots, 1);
	assert_memory_equal(guest->console, "ab", 2);
}

/* An exception with an empty IDT. */
PAYLOAD(triple_fault, "lidtl no_idt - triple_fault\n"
		      "lgdtl fault_gdt_pointer - triple_fault\n"
		      "mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
		      "ljmpl $8, $(0x8000 + 1f - triple_fault)\n"
		      ".code32\n1: mov $0x12345678, %ebx; xor %edx, %edx\n"
		      "div %dl\n.code16\n"
		      ".balign 8\n"
		      "fault_gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
		      "fault_gdt_pointer: .word 23; .long fault_gdt - triple_fault + 0x8000\n"
		      "no_idt: .word 0; .long 0");

static void test_a_dead_guest_is_explained_with_registers(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, triple_fault, triple_fault_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_CRASHED);
	print_message("%s\n", guest->stop.text);
	if (!strstr(guest->stop.text, "forgets its registers")) {
		assert_non_null(strstr(guest->stop.text, "rip 0x"));
		assert_non_null(strstr(guest->stop.text, "instruction bytes"));
	}
	/* Without hardware virtualization KVM gives up at the exception itself. */
	if (guest->kvm.backend == PV_KVM_HARDWARE)
		assert_non_null(strstr(guest->stop.text, "triple-faulted"));
	if (strstr(guest->stop.text, "internal error"))
		assert_non_null(strstr(guest->stop.text, "no hardware virtualization"));
}

/* The boot vCPU starts the other one at 0x9000 by x2APIC messages and waits for its mark. */
PAYLOAD(two_vcpus, "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr\n"
		   "mov $0x830, %ecx; mov $1, %edx; mov $0x4500, %eax; wrmsr\n"
		   "mov $0x830, %ecx; mov $1, %edx; mov $0x4609, %eax; wrmsr\n"
		   "1: pause; cmpb $1, 0x2000; jne 1b\n" PRINT("a") POWER_OFF FOREVER
    ".org two_vcpus + 0x1000\n"
    "mov $0x800, %ax; mov %ax, %ds\n" PRINT("b") "movb $1, 0x2000\n" FOREVER);

static void test_a_second_vcpu_starts_by_its_interrupt(void **state)
{
	struct guest *guest = *state;
	guest->config.cpus = 2;
	guest_start(guest, two_vcpus, two_vcpus_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_POWER_OFF);
	assert_memory_equal(guest->console, "ba", 2);
}

/* Without devices all vCPUs start at once, with their number in di. */
PAYLOAD(bare, "test %di, %di; jnz 2f\n"
	      "1: pause; cmpb $1, 0x2000; jne 1b; movb $2, 0x2001; hlt\n"
	      "2: movb $1, 0x2000\n" FOREVER);

static void test_bare_vcpus_share_memory_and_end_by_halting(void **state)
{
	struct guest *guest = *state;
	guest->config.cpus = 2;
	guest->config.no_devices = true;
	guest_start(guest, bare, bare_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_POWER_OFF);
	uint8_t marks[2];
	assert_int_equal(
	    pv_gmem_read(pv_machine_memory(guest->machine), PAYLOAD_GPA + 0x2000, marks, 2), 0);
	assert_int_equal(marks[0], 1);
	assert_int_equal(marks[1], 2);
	assert_null(pv_machine_vsock(guest->machine));
}

/* Enables receive interrupts, waits for a byte, sends it back. */
PAYLOAD(echo, "mov $0x3f9, %dx; mov $1, %al; out %al, %dx\n" PRINT(
		  ">") "1: mov $0x3fd, %dx; in %dx, %al; test $1, %al; jz 1b\n"
		       "mov $0x3f8, %dx; in %dx, %al; out %al, %dx\n" POWER_OFF FOREVER);

static void test_typed_input_reaches_the_serial_port(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, echo, echo_end);
	guest_wait_console(guest, ">");
	pv_loop_lock(guest->loop);
	assert_int_equal(pv_machine_console_input(guest->machine, "k", 1), 1);
	pv_loop_unlock(guest->loop);
	guest_wait_stopped(guest);
	assert_memory_equal(guest->console, ">k", 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_port_writes_reach_the_console_and_power_off_ends),
	    TEST(test_string_output_keeps_order_and_count),
	    TEST(test_string_input_fills_every_byte),
	    TEST(test_memory_accesses_reach_the_device),
	    TEST(test_addresses_of_configuration_space_are_collected),
	    TEST(test_initial_time_holds_in_rtc_and_kvmclock),
	    TEST(test_keyboard_reset_runs_the_payload_again_in_clear_memory),
	    TEST(test_acpi_reset_register_reboots),
	    TEST(test_a_dead_guest_is_explained_with_registers),
	    TEST(test_a_second_vcpu_starts_by_its_interrupt),
	    TEST(test_bare_vcpus_share_memory_and_end_by_halting),
	    TEST(test_typed_input_reaches_the_serial_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
