/* A vCPU that has just faulted when it is called in: its fault goes with the snapshot and does not
 * hit the guest that takes its place. Needs /dev/kvm. */
#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template_private.h"

#define CRASH 0x9004u

/* Counts at 0x9000; told to at 0x9004, it faults without an interrupt table: a triple fault. */
PAYLOAD(faulter, PRINT(".") "1: incl 0x1000; cmpl $0, 0x1004; je 1b\n"
			    "xor %ax, %ax; mov %ax, %ds; movw $0, 0x8f00; movl $0, 0x8f02\n"
			    "lidt 0x8f00; ud2");

static struct pv_err err = PV_ERR_INIT;

static void ok(int code)
{
	if (code < 0)
		fail_msg("%s", err.text);
}

/* A guest that counts, paused and frozen. */
static struct pv_template *run_and_freeze(struct guest *guest)
{
	guest_start(guest, faulter, faulter_end);
	guest_wait_console(guest, ".");
	machine_wait_progress(guest->machine);
	machine_pause(guest->machine);
	return machine_freeze(guest->machine);
}

static struct kvm_vcpu_events get_events(struct pv_machine *machine)
{
	struct kvm_vcpu_events events;
	assert_int_equal(ioctl(machine->vm.vcpus[0].fd, KVM_GET_VCPU_EVENTS, &events), 0);
	return events;
}

static void set_events(struct pv_machine *machine, struct kvm_vcpu_events events)
{
	assert_int_equal(ioctl(machine->vm.vcpus[0].fd, KVM_SET_VCPU_EVENTS, &events), 0);
}

/* As when the kick comes between the third fault and the shutdown that it means. */
static void make_triple_fault(struct pv_machine *machine)
{
	struct kvm_vcpu_events events = get_events(machine);
	if (!(events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)) {
		print_message("this KVM does not tell of triple faults\n");
		skip();
	}
	assert_int_equal(events.triple_fault.pending, 0);
	events.triple_fault.pending = 1;
	set_events(machine, events);
}

static void test_a_triple_fault_does_not_survive_a_rewind(void **state)
{
	struct guest *guest = *state;
	struct pv_template *template = run_and_freeze(guest);
	make_triple_fault(guest->machine);
	ok(pv_machine_rewind(guest->machine, &err));
	assert_int_equal(get_events(guest->machine).triple_fault.pending, 0);
	machine_resume(guest->machine);
	machine_wait_progress(guest->machine);
	assert_int_equal(guest->stops, 0);
	pv_template_unref(template);
}

static void test_a_triple_fault_is_part_of_a_snapshot(void **state)
{
	struct guest *guest = *state;
	struct pv_template *sound = run_and_freeze(guest);
	make_triple_fault(guest->machine);
	struct pv_template *template = machine_freeze(guest->machine);
	pv_machine_destroy(guest->machine);
	guest->machine = machine_restore(guest, template);
	assert_int_equal(get_events(guest->machine).triple_fault.pending, 1);
	machine_resume(guest->machine);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_CRASHED);
	/* The one before it goes on as often as one likes. */
	struct pv_machine *other = machine_restore(guest, sound);
	machine_resume(other);
	machine_wait_progress(other);
	pv_machine_destroy(other);
	pv_template_unref(template);
	pv_template_unref(sound);
}

/* The address of a page fault is in no register before the guest has taken the fault. */
static void test_the_address_of_a_page_fault_is_kept(void **state)
{
	struct guest *guest = *state;
	struct pv_template *sound = run_and_freeze(guest);
	struct kvm_vcpu_events events = get_events(guest->machine);
	if (!(events.flags & KVM_VCPUEVENT_VALID_PAYLOAD)) {
		print_message("this KVM does not tell the payload of exceptions\n");
		skip();
	}
	events.exception.pending = 1;
	events.exception.nr = 14;
	events.exception.has_error_code = 1;
	events.exception.error_code = 2;
	events.exception_has_payload = 1;
	events.exception_payload = 0xdeadb000;
	set_events(guest->machine, events);
	struct pv_template *template = machine_freeze(guest->machine);
	struct pv_machine *other = machine_restore(guest, template);
	const struct kvm_vcpu_events restored = get_events(other);
	assert_int_equal(restored.exception.pending, 1);
	assert_int_equal(restored.exception.injected, 0);
	assert_int_equal(restored.exception.nr, 14);
	assert_int_equal(restored.exception_has_payload, 1);
	assert_int_equal(restored.exception_payload, 0xdeadb000);
	/* And it goes when another state is loaded. */
	pv_template_unref(other->template);
	other->template = pv_template_ref(sound);
	assert_int_equal(pv_vcpu_state_load(&sound->vcpus[0], &other->vm, 0, &err), 0);
	assert_int_equal(get_events(other).exception.pending, 0);
	assert_int_equal(get_events(other).exception.injected, 0);
	pv_machine_destroy(other);
	pv_template_unref(template);
	pv_template_unref(sound);
}

/* What a kernel without these events says and takes. */
static void test_an_older_kernel(void **state)
{
	struct guest *guest = *state;
	struct pv_template *template = run_and_freeze(guest);
	struct pv_vcpu_state *vcpu = malloc(sizeof(*vcpu));
	assert_non_null(vcpu);
	*vcpu = template->vcpus[0];
	guest->machine->vm.event_flags = 0;
	ok(pv_vcpu_state_load(vcpu, &guest->machine->vm, 0, &err));
	vcpu->events.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	vcpu->events.triple_fault.pending = 1;
	assert_int_equal(pv_vcpu_state_load(vcpu, &guest->machine->vm, 0, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "vCPU 0: it had just faulted"));
	*vcpu = template->vcpus[0];
	vcpu->events.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	vcpu->events.exception.pending = 1;
	vcpu->events.exception.nr = 14;
	vcpu->events.exception_has_payload = 1;
	assert_int_equal(pv_vcpu_state_load(vcpu, &guest->machine->vm, 0, &err), -ENOTSUP);
	vcpu->events.exception_has_payload = 0;
	ok(pv_vcpu_state_load(vcpu, &guest->machine->vm, 0, &err));
	assert_int_equal(get_events(guest->machine).exception.injected, 1);
	free(vcpu);
	pv_template_unref(template);
}

static void spin(int64_t ns)
{
	const int64_t deadline = pv_clock_deadline(ns);
	while (pv_clock_now() < deadline)
		__asm__ __volatile__("pause");
}

/* Paused around the moment of its crash, which it looks for: it has crashed, or it goes back. */
static void test_a_crash_in_a_race_with_a_pause(void **state)
{
	struct guest *guest = *state;
	struct pv_template *template = run_and_freeze(guest);
	unsigned crashed = 0;
	int64_t delay = 1000;
	for (unsigned i = 0; i < 200; i++) {
		machine_resume(guest->machine);
		machine_wait_progress(guest->machine);
		machine_poke(guest->machine, CRASH, 1);
		spin(delay);
		if (pv_machine_pause(guest->machine, &err) == 0) {
			ok(pv_machine_rewind(guest->machine, &err));
			delay += delay / 8;
		} else {
			crashed++;
			delay -= delay / 8;
			pv_machine_destroy(guest->machine);
			guest->machine = machine_restore(guest, template);
		}
		assert_int_equal(machine_peek(guest->machine, CRASH), 0);
	}
	assert_int_equal(guest->stops, crashed);
	machine_resume(guest->machine);
	machine_wait_progress(guest->machine);
	print_message("%u of 200 had crashed\n", crashed);
	pv_template_unref(template);
}

#define GUEST_TEST(function) \
	cmocka_unit_test_setup_teardown(function, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GUEST_TEST(test_a_triple_fault_does_not_survive_a_rewind),
	    GUEST_TEST(test_a_triple_fault_is_part_of_a_snapshot),
	    GUEST_TEST(test_the_address_of_a_page_fault_is_kept),
	    GUEST_TEST(test_an_older_kernel),
	    GUEST_TEST(test_a_crash_in_a_race_with_a_pause),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
