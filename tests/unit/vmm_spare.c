/* The kernel's half of a machine that was destroyed serves the next one, and nothing of the old
 * guest is left in it. Needs /dev/kvm. */
#include "vmm/spare.h"

#include <linux/kvm.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/coalesced.h"
#include "vmm/gsi.h"
#include "vmm/machine_private.h"
#include "vmm/ram.h"
#include "vmm/ram_image.h"
#include "vmm/template_private.h"

#define CRASH 0x9004u

/* Counts in memory at 0x9000 and says `.` once. */
PAYLOAD(counter, PRINT(".") "1: incl 0x1000; jmp 1b");

/*
 * Leaves as much behind as it can: a ticking interval timer and a ticking local APIC, the serial
 * port's interrupt line high (it may send, and nobody acknowledges), SSE registers, page tables'
 * root and a breakpoint register that are not zero.
 */
PAYLOAD(messy,
    "mov %cr4, %eax; or $0x600, %eax; mov %eax, %cr4\n"
    "mov %cr0, %eax; and $0xfffffffb, %eax; or $2, %eax; mov %eax, %cr0\n"
    "movl $0x11111111, 0x800; movups 0x800, %xmm0; movups 0x800, %xmm7\n"
    "mov $0x12345000, %eax; mov %eax, %cr3; mov %eax, %cr2; mov %eax, %dr0\n"
    "mov $0x34, %al; out %al, $0x43; mov $0x9c, %al; out %al, $0x40; mov $0x2e, %al; out %al, "
    "$0x40\n"
    "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr; xor %edx, %edx\n"
    "mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
    "mov $0x83e, %ecx; mov $0xb, %eax; wrmsr\n"
    "mov $0x832, %ecx; mov $0x20030, %eax; wrmsr\n"
    "mov $0x838, %ecx; mov $10000000, %eax; wrmsr\n"
    "mov $0x3f9, %dx; mov $2, %al; out %al, %dx\n"
    "mov $0x3fc, %dx; mov $8, %al; out %al, %dx\n" PRINT(".") "1: incl 0x1000; jmp 1b");

/* Counts, too, until it is told to crash. */
PAYLOAD(crasher,
    PRINT(".") "1: incl 0x1000; cmpl $0, 0x1004; je 1b\n"
	       "xor %ax, %ax; mov %ax, %ds; movw $0, 0x8f00; movl $0, 0x8f02; lidt 0x8f00; ud2");

static struct pv_err err = PV_ERR_INIT;

static void ok(int code)
{
	if (code < 0)
		fail_msg("%s", err.text);
}

/* Runs a payload on the guest's machine, which is created anew, and freezes it. */
static struct pv_template *run_payload(
    struct guest *guest, const uint8_t *payload, const uint8_t *end)
{
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;
	pv_loop_lock(guest->loop);
	guest->console_len = 0;
	pv_loop_unlock(guest->loop);
	guest_start(guest, payload, end);
	guest_wait_console(guest, ".");
	machine_wait_above(guest->machine, 100);
	machine_pause(guest->machine);
	return machine_freeze(guest->machine);
}

/* A machine on a virtual machine that another one had. */
static struct pv_machine *restore_on_spare(struct guest *guest, struct pv_template *template)
{
	const unsigned before = pv_spare_pool_settle(guest->kvm.spares);
	assert_in_range(before, 1, 4);
	struct pv_machine *machine = machine_restore(guest, template);
	assert_int_equal(pv_spare_pool_settle(guest->kvm.spares), before - 1);
	return machine;
}

static void assert_same(const struct pv_template *a, const struct pv_template *b)
{
	assert_int_equal(a->state.len, b->state.len);
	for (size_t i = 0; i < a->state.len; i++) {
		if (a->state.data[i] != b->state.data[i])
			fail_msg("states differ at %zu of %zu", i, a->state.len);
	}
}

static void check_nothing_is_left(struct guest *guest)
{
	struct pv_template *tidy = run_payload(guest, counter, counter_end);
	struct pv_template *mess = run_payload(guest, messy, messy_end);
	for (unsigned i = 0; i < 4; i++) {
		/* A messy guest that runs to its last moment. */
		struct pv_machine *machine = machine_restore(guest, mess);
		for (uint32_t page = 0x10; page < 0x100; page++)
			ok(pv_gmem_write(
			    pv_machine_memory(machine), 4096 * (page + 0x100), &page, 4));
		machine_resume(machine);
		machine_wait_above(machine, machine_peek(machine, PAYLOAD_COUNTER));
		pv_machine_destroy(machine);
		machine = restore_on_spare(guest, tidy);
		for (uint32_t page = 0x10; page < 0x100; page++)
			assert_int_equal(machine_peek(machine, 4096 * (page + 0x100)), 0);
		poll(NULL, 0, 30); /* longer than its timers' periods */
		struct pv_template *again = machine_freeze(machine);
		assert_same(tidy, again);
		pv_template_unref(again);
		machine_resume(machine);
		machine_wait_above(machine, machine_peek(machine, PAYLOAD_COUNTER) + 100);
		/* And the other way round. */
		pv_machine_destroy(machine);
		machine = restore_on_spare(guest, mess);
		again = machine_freeze(machine);
		assert_same(mess, again);
		pv_template_unref(again);
		pv_machine_destroy(machine);
	}
	pv_template_unref(tidy);
	pv_template_unref(mess);
	assert_int_equal(guest->stops, 0);
}

static void test_nothing_is_left_of_the_old_guest(void **state)
{
	check_nothing_is_left(*state);
}

static void test_nothing_is_left_with_two_vcpus(void **state)
{
	struct guest *guest = *state;
	guest->config.cpus = 2;
	check_nothing_is_left(guest);
}

/* --- memory that stays --- */

#define SCRATCH_PAGES 32

/* Where the guest's payload never looks. */
static uint64_t scratch(uint32_t page)
{
	return 0x100000 + UINT64_C(4096) * page;
}

/* Lets a machine run, write, and end as a spare. */
static void use(struct pv_machine *machine)
{
	const uint32_t count = machine_peek(machine, PAYLOAD_COUNTER);
	for (uint32_t page = 0; page < SCRATCH_PAGES; page++)
		ok(pv_gmem_write(pv_machine_memory(machine), scratch(page), "used", 4));
	machine_resume(machine);
	machine_wait_above(machine, count);
	pv_machine_destroy(machine);
}

static void assert_unused(struct pv_machine *machine)
{
	for (uint32_t page = 0; page < SCRATCH_PAGES; page++)
		assert_int_equal(machine_peek(machine, scratch(page)), 0);
}

static void test_memory_stays_mapped_for_the_same_image(void **state)
{
	struct guest *guest = *state;
	struct pv_template *template = run_payload(guest, counter, counter_end);
	struct pv_machine *machine = machine_restore(guest, template);
	const uint32_t count = machine_peek(machine, PAYLOAD_COUNTER);
	assert_false(machine->ram.restored);
	for (unsigned i = 0; i < 4; i++) {
		use(machine);
		machine = restore_on_spare(guest, template);
		/* Pages of the last one's are there, and hold what the template holds. */
		assert_true(machine->ram.restored);
		assert_unused(machine);
		assert_int_equal(machine_peek(machine, PAYLOAD_COUNTER), count);
		struct pv_template *again = machine_freeze(machine);
		assert_same(template, again);
		assert_ptr_equal(again->ram, template->ram);
		pv_template_unref(again);
	}
	pv_machine_destroy(machine);
	pv_template_unref(template);
}

static struct pv_template *open_file(const char *path)
{
	struct pv_template *template = NULL;
	ok(pv_template_open(&template, path, false, &err));
	return template;
}

/* Makes the content of one file that of another, in place. */
static void overwrite(const char *path, const char *from)
{
	char command[512];
	snprintf(command, sizeof(command), "cat '%s' >'%s'", from, path);
	assert_int_equal(system(command), 0);
}

static void test_a_file_that_is_opened_again_is_the_same_image(void **state)
{
	struct guest *guest = *state;
	char path[] = "/tmp/provium-spare.XXXXXX", other[] = "/tmp/provium-spare.XXXXXX";
	int fds[] = {mkstemp(path), mkstemp(other)};
	assert_true(fds[0] >= 0 && fds[1] >= 0);
	struct pv_template *template = run_payload(guest, counter, counter_end);
	ok(pv_template_write(template, path, NULL, &err));
	struct pv_machine *machine = machine_restore(guest, template);
	ok(pv_gmem_write(pv_machine_memory(machine), scratch(1), "more", 4));
	struct pv_template *more = machine_freeze(machine);
	ok(pv_template_write(more, other, NULL, &err));
	pv_machine_destroy(machine);
	pv_template_unref(more);
	pv_template_unref(template);

	struct pv_template *file = open_file(path);
	use(machine_restore(guest, file));
	pv_template_unref(file);
	file = open_file(path);
	machine = restore_on_spare(guest, file);
	assert_true(machine->ram.restored);
	assert_unused(machine);
	use(machine);
	pv_template_unref(file);
	/* Another snapshot in the same file is another image. */
	pv_spare_pool_settle(guest->kvm.spares);
	overwrite(path, other);
	file = open_file(path);
	machine = restore_on_spare(guest, file);
	assert_false(machine->ram.restored);
	assert_int_equal(machine_peek(machine, scratch(1)), 'm' | 'o' << 8 | 'r' << 16 | 'e' << 24);
	assert_int_equal(machine_peek(machine, scratch(2)), 0);
	pv_machine_destroy(machine);
	pv_template_unref(file);
	unlink(path);
	unlink(other);
	close(fds[0]);
	close(fds[1]);
}

static void test_an_image_that_nobody_has_is_let_go(void **state)
{
	struct guest *guest = *state;
	struct pv_spare spare;
	struct pv_template *first = run_payload(guest, counter, counter_end);
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;
	use(restore_on_spare(guest, first));
	struct pv_template *second = run_payload(guest, counter, counter_end);
	assert_int_equal(pv_spare_pool_settle(guest->kvm.spares), 1);
	pv_template_unref(first);
	/* The next one that comes shows it. */
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;
	assert_int_equal(pv_spare_pool_settle(guest->kvm.spares), 2);
	assert_true(pv_spare_take(guest->kvm.spares, 1, second->ram, &spare));
	assert_ptr_equal(spare.ram.image, second->ram);
	pv_spare_finish(&spare, NULL);
	assert_true(pv_spare_take(guest->kvm.spares, 1, second->ram, &spare));
	assert_null(spare.ram.image);
	pv_spare_finish(&spare, NULL);
	pv_template_unref(second);
}

static void test_a_crashed_machine_is_no_spare(void **state)
{
	struct guest *guest = *state;
	struct pv_template *template = run_payload(guest, crasher, crasher_end);
	struct pv_machine *machine = machine_restore(guest, template);
	ok(pv_gmem_write(pv_machine_memory(machine), CRASH, "\1", 1));
	machine_resume(machine);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_CRASHED);
	pv_machine_destroy(machine);
	assert_int_equal(pv_spare_pool_settle(guest->kvm.spares), 0);
	pv_template_unref(template);
}

/* --- the pool itself --- */

/* A virtual machine with RAM, as a spare. */
static struct pv_spare make_spare(struct guest *guest, unsigned cpus, uint64_t size)
{
	struct pv_spare spare = {.bell_count = 0};
	ok(pv_ram_init(&spare.ram, -1, size, &err));
	ok(pv_kvm_vm_init(&spare.vm, &guest->kvm, &spare.ram, cpus, true, &err));
	memset(spare.ram.host, 0x5a, 1 << 20);
	pv_ram_leave(&spare.ram);
	return spare;
}

static bool try_take(struct guest *guest, unsigned cpus, uint64_t size, struct pv_spare *spare)
{
	struct pv_ram_image *image;
	int fd = memfd_create("image", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	ok(pv_ram_image_create(&image, fd, 0, size, &err));
	bool taken = pv_spare_take(guest->kvm.spares, cpus, image, spare);
	pv_ram_image_unref(image);
	return taken;
}

static struct pv_spare take(struct guest *guest, unsigned cpus, uint64_t size)
{
	struct pv_spare spare;
	pv_spare_pool_settle(guest->kvm.spares);
	assert_true(try_take(guest, cpus, size, &spare));
	return spare;
}

static void test_what_a_guest_left_is_taken_away(void **state)
{
	enum { BELLS = 3 };
	struct guest *guest = *state;
	guest_need_kvm(guest);
	struct pv_spare spare = make_spare(guest, 1, 16 << 20);
	const struct pv_gsi gsi = {.vm = &spare.vm};
	spare.bells = calloc(BELLS, sizeof(spare.bells[0]));
	spare.bell_count = BELLS;
	for (unsigned i = 0; i < BELLS; i++) {
		spare.bells[i].gpa = 0xd0000000 + 4096 * i;
		spare.bells[i].fd = eventfd(0, EFD_CLOEXEC);
		assert_int_equal(
		    pv_gsi_doorbell(&gsi, spare.bells[i].gpa, spare.bells[i].fd, true), 0);
	}
	/* A port write that nobody carried out. */
	spare.vm.coalesced = pv_coalesced_begin(&spare.vm);
	if (spare.vm.coalesced)
		spare.vm.coalesced->last++;
	assert_int_equal(pv_coalesced_is_pending(spare.vm.coalesced), spare.vm.coalesced != NULL);
	assert_true(pv_spare_give(guest->kvm.spares, &spare));
	spare = take(guest, 1, 16 << 20);
	assert_false(pv_coalesced_is_pending(spare.vm.coalesced));
	assert_int_equal(spare.bell_count, 0);
	const int fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < BELLS; i++)
		assert_int_equal(pv_gsi_doorbell(&gsi, 0xd0000000 + 4096 * i, fd, true), 0);
	close(fd);
	/* Its place is kept, with nothing in it. */
	unsigned char resident[256];
	assert_int_equal(mincore(spare.ram.host, 1 << 20, resident), 0);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(resident[i] & 1, 0);
	assert_int_equal(mprotect(spare.ram.host, 1 << 20, PROT_READ), 0);
	assert_int_equal(*(const uint8_t *)spare.ram.host, 0);
	pv_spare_finish(&spare, NULL);
}

static void test_few_are_kept(void **state)
{
	struct guest *guest = *state;
	guest_need_kvm(guest);
	unsigned kept = 0; /* of the same shape, none is thrown out */
	for (unsigned i = 0; i < 10; i++) {
		struct pv_spare spare = make_spare(guest, 1, 16 << 20);
		if (pv_spare_give(guest->kvm.spares, &spare))
			kept++;
		else
			pv_spare_finish(&spare, guest->kvm.reaper);
	}
	assert_int_equal(kept, 4);
	assert_int_equal(pv_spare_pool_settle(guest->kvm.spares), 4);
	/* Another shape takes the room of one, and then nobody finds less than there is. */
	struct pv_spare other = make_spare(guest, 1, 32 << 20);
	assert_true(pv_spare_give(guest->kvm.spares, &other));
	assert_int_equal(pv_spare_pool_settle(guest->kvm.spares), 4);
	assert_false(try_take(guest, 2, 32 << 20, &other));
	other = take(guest, 1, 32 << 20);
	assert_false(try_take(guest, 1, 32 << 20, &other));
	pv_spare_finish(&other, guest->kvm.reaper);
	assert_int_equal(pv_spare_pool_settle(guest->kvm.spares), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_nothing_is_left_of_the_old_guest),
	    TEST(test_nothing_is_left_with_two_vcpus),
	    TEST(test_memory_stays_mapped_for_the_same_image),
	    TEST(test_a_file_that_is_opened_again_is_the_same_image),
	    TEST(test_an_image_that_nobody_has_is_let_go),
	    TEST(test_a_crashed_machine_is_no_spare),
	    TEST(test_what_a_guest_left_is_taken_away),
	    TEST(test_few_are_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
