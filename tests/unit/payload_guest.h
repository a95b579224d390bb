/*
 * A machine for tests that runs a few instructions instead of a kernel, and collects what comes out
 * of it.
 */
#ifndef PV_TESTS_PAYLOAD_GUEST_H
#define PV_TESTS_PAYLOAD_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/kvm.h"
#include "vmm/machine.h"

#define PAYLOAD_GPA 0x8000u

/*
 * Assembles 16-bit code at file scope: PAYLOAD(name, "instructions") gives name[] and name_end[].
 * The code begins at offset 0 of a segment at PAYLOAD_GPA that all segment registers point to; data
 * labels are used as `label - name`.
 */
#define PAYLOAD(name, code)                                                  \
	__asm__(".pushsection .rodata\n"                                     \
		".globl " #name "\n" #name ":\n.code16\n" code "\n.code64\n" \
		".globl " #name "_end\n" #name "_end:\n"                     \
		".popsection\n");                                            \
	extern const uint8_t name[];                                         \
	extern const uint8_t name##_end[]

/* Pieces of payloads. */
#define PRINT(character) "mov $0x3f8, %dx; mov $'" character "', %al; out %al, %dx\n"
#define POWER_OFF	 "mov $0x604, %dx; mov $0x3400, %ax; out %ax, %dx\n"
#define FOREVER		 "9: pause; jmp 9b\n"

struct guest {
	struct pv_kvm kvm;
	struct pv_loop *loop;
	struct pv_machine *machine;
	struct pv_machine_config config;
	/* Under the loop lock. */
	char console[4096];
	size_t console_len;
	unsigned reboots;
	unsigned stops;
	struct pv_machine_stop stop;
};

/* cmocka set-up and tear-down for a test with a struct guest as its state; skipped without
 * /dev/kvm. */
int guest_set_up(void **state);
int guest_tear_down(void **state);

/* Skips the test when this machine has no usable /dev/kvm. */
void guest_need_kvm(struct guest *guest);

/* Creates the machine from config with that payload; _start starts it too. */
void guest_create(struct guest *guest, const uint8_t *payload, const uint8_t *end);
void guest_start(struct guest *guest, const uint8_t *payload, const uint8_t *end);

/* Wait until the console holds `text`, the machine stopped, or it rebooted `count` times; fail
 * after a minute. */
void guest_wait_console(struct guest *guest, const char *text);
void guest_wait_stopped(struct guest *guest);
void guest_wait_reboots(struct guest *guest, unsigned count);

enum pv_machine_state guest_state(struct guest *guest);

/* --- any machine with a payload; all of these do it or fail the test --- */

struct pv_template;

/* Where payloads count, if they do. */
#define PAYLOAD_COUNTER 0x9000u

uint32_t machine_peek(struct pv_machine *machine, uint64_t gpa);
void machine_poke(struct pv_machine *machine, uint64_t gpa, uint32_t value);

/* Wait until it has counted to more than `value`, or to another value than now. */
void machine_wait_above(struct pv_machine *machine, uint32_t value);
void machine_wait_progress(struct pv_machine *machine);

void machine_pause(struct pv_machine *machine);
void machine_resume(struct pv_machine *machine);
/* The caller's reference. */
struct pv_template *machine_freeze(struct pv_machine *machine);
/* A paused machine like the guest's own, of the guest's KVM and loop. The caller destroys it. */
struct pv_machine *machine_restore(struct guest *guest, struct pv_template *template);

#endif
