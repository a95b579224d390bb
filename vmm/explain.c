/*
 * Crash reasons in words.
 *
 * The first line is one sentence: what happened and what it usually means. Then where (rip, the
 * bytes of the instruction, read through the guest's own page tables with KVM_TRANSLATE), then the
 * registers. On a KVM without hardware virtualization the sentence about that comes first, because
 * there it is the cause of almost everything.
 *
 * Runs on the thread of the vCPU that failed, without locks.
 */
#include "vmm/explain.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "base/gmem.h"
#include "vmm/kvm.h"
#include "vmm/kvm_vm.h"

#define CODE_BYTES 16

/* Text that grows and is cut at the end of its buffer. */
struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int count = vsnprintf(text->at, text->left, fmt, args);
	va_end(args);
	if (count < 0)
		return;
	size_t used = (size_t)count < text->left ? (size_t)count : text->left - 1;
	text->at += used;
	text->left -= used;
}

static unsigned long long wide(uint64_t value)
{
	return value;
}

static void say_bytes(struct text *text, const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		say(text, "%s%02x", i ? " " : "", bytes[i]);
}

/* The bytes at rip, as many as can be read. */
static unsigned read_code(
    int fd, const struct pv_gmem *mem, uint64_t linear, uint8_t out[CODE_BYTES])
{
	unsigned count = 0;
	for (; count < CODE_BYTES; count++) {
		struct kvm_translation where = {.linear_address = linear + count};
		if (ioctl(fd, KVM_TRANSLATE, &where) < 0 || !where.valid)
			break;
		if (pv_gmem_read(mem, where.physical_address, &out[count], 1) < 0)
			break;
	}
	return count;
}

static const char *mode_of(const struct kvm_sregs *sregs)
{
	if (!(sregs->cr0 & 1))
		return "real mode";
	if (sregs->efer & (1u << 10))
		return sregs->cs.l ? "64-bit mode" : "compatibility mode";
	return sregs->cs.db ? "32-bit protected mode" : "16-bit protected mode";
}

static void say_registers(
    struct text *text, int fd, const struct kvm_run *run, const struct pv_gmem *mem)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	if (ioctl(fd, KVM_GET_REGS, &regs) < 0 || ioctl(fd, KVM_GET_SREGS, &sregs) < 0) {
		say(text, "\nthe registers cannot be read");
		return;
	}
	uint8_t code[CODE_BYTES];
	/* AMD processors lose the state in a shutdown, so KVM resets the vCPU before it reports it.
	 */
	if (run->exit_reason == KVM_EXIT_SHUTDOWN && sregs.cs.base == 0xffff0000 &&
	    regs.rip == 0xfff0) {
		say(text,
		    "\nwhere is not known: this processor forgets its registers in a triple fault");
		return;
	}
	uint64_t linear = sregs.cs.l ? regs.rip : sregs.cs.base + regs.rip;
	unsigned count = read_code(fd, mem, linear, code);
	say(text, "\nat rip 0x%llx in %s, instruction bytes: ", wide(regs.rip), mode_of(&sregs));
	if (count > 0)
		say_bytes(text, code, count);
	else
		say(text, "not readable");
	say(text, "\nrax %016llx rbx %016llx rcx %016llx rdx %016llx", wide(regs.rax),
	    wide(regs.rbx), wide(regs.rcx), wide(regs.rdx));
	say(text, "\nrsi %016llx rdi %016llx rbp %016llx rsp %016llx", wide(regs.rsi),
	    wide(regs.rdi), wide(regs.rbp), wide(regs.rsp));
	say(text, "\nr8  %016llx r9  %016llx r10 %016llx r11 %016llx", wide(regs.r8), wide(regs.r9),
	    wide(regs.r10), wide(regs.r11));
	say(text, "\nr12 %016llx r13 %016llx r14 %016llx r15 %016llx", wide(regs.r12),
	    wide(regs.r13), wide(regs.r14), wide(regs.r15));
	say(text, "\nrflags %llx cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx", wide(regs.rflags),
	    wide(sregs.cr0), wide(sregs.cr2), wide(sregs.cr3), wide(sregs.cr4), wide(sregs.efer));
	say(text, "\ncs %04x base %llx ss %04x idt %llx limit %x", sregs.cs.selector,
	    wide(sregs.cs.base), sregs.ss.selector, wide(sregs.idt.base), sregs.idt.limit);
}

static void say_backend(struct text *text, const struct pv_kvm *kvm)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_kvm_require_hardware(kvm, &err) < 0)
		say(text, "%s\n", err.text);
}

static void say_internal_error(struct text *text, const struct kvm_run *run, unsigned vcpu)
{
	const uint32_t suberror = run->internal.suberror;
	if (suberror != KVM_INTERNAL_ERROR_EMULATION) {
		const char *what = suberror == KVM_INTERNAL_ERROR_SIMUL_EX
				       ? "two exceptions at once"
				   : suberror == KVM_INTERNAL_ERROR_DELIVERY_EV
				       ? "an exit while it delivered an event"
				   : suberror == KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON
				       ? "an exit of the processor that it does not know"
				       : "an unknown reason";
		say(text, "vCPU %u stopped by a KVM internal error: %s (suberror %u, data", vcpu,
		    what, suberror);
		uint32_t count = run->internal.ndata < 16 ? run->internal.ndata : 16;
		for (uint32_t i = 0; i < count; i++)
			say(text, " %llx", wide(run->internal.data[i]));
		say(text, ")");
		return;
	}
	say(text,
	    "vCPU %u stopped by a KVM internal error: it could not emulate an instruction "
	    "(suberror 1)",
	    vcpu);
	const uint8_t *bytes = run->emulation_failure.insn_bytes;
	if (run->emulation_failure.ndata >= 3 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
		uint32_t count = run->emulation_failure.insn_size;
		say(text, ", bytes ");
		say_bytes(text, bytes, count < 15 ? count : 15);
	}
}

static void say_reason(struct text *text, const struct kvm_run *run, unsigned vcpu)
{
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		say(text,
		    "vCPU %u triple-faulted: an exception came while the guest handled a failed "
		    "exception, so it has no usable handlers (a damaged kernel or page tables, or "
		    "a reboot by triple fault)",
		    vcpu);
		break;
	case KVM_EXIT_INTERNAL_ERROR: say_internal_error(text, run, vcpu); break;
	case KVM_EXIT_FAIL_ENTRY:
		say(text,
		    "vCPU %u could not be entered: the processor refused the guest state "
		    "(hardware reason 0x%llx)",
		    vcpu, wide(run->fail_entry.hardware_entry_failure_reason));
		break;
	default:
		say(text,
		    "vCPU %u stopped with KVM exit reason %u, which this program does not know",
		    vcpu, run->exit_reason);
		break;
	}
}

void pv_explain_exit(
    const struct pv_kvm_vm *vm, const struct pv_gmem *mem, unsigned vcpu, char *out, size_t size)
{
	struct text text = {.at = out, .left = size};
	out[0] = '\0';
	const struct kvm_run *run = vm->vcpus[vcpu].run;
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR || run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		say_backend(&text, vm->kvm);
	say_reason(&text, run, vcpu);
	say_registers(&text, vm->vcpus[vcpu].fd, vm->vcpus[vcpu].run, mem);
}

void pv_explain_failure(const struct pv_kvm_vm *vm, const struct pv_gmem *mem, unsigned vcpu,
    int code, char *out, size_t size)
{
	struct text text = {.at = out, .left = size};
	out[0] = '\0';
	say_backend(&text, vm->kvm);
	say(&text, "vCPU %u cannot run: KVM_RUN failed with `%s`", vcpu, strerrordesc_np(code));
	say_registers(&text, vm->vcpus[vcpu].fd, vm->vcpus[vcpu].run, mem);
}
