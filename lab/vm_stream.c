/*
 * Streams from a guest for a script that waits: what the agent follows, and the console. Theory:
 * both are buffers that grow under the loop lock, and every growth wakes waiters, so a stream costs
 * nothing while its guest is silent. The wait ends with bytes, the end of the source, the deadline,
 * the host's interrupt, and at once when the state of the VM says that nothing can come.
 *
 * A reader of the console is a position in the log: there is no copy for each.
 */
#include <errno.h>

#include "agent/host/stream.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "lab/host.h"
#include "lab/vm_private.h"

void pv_vm_stream_opened(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	vm->open_streams++;
	pv_loop_unlock(vm->host->loop);
}

void pv_vm_stream_closed(struct pv_vm *vm)
{
	pv_loop_lock(vm->host->loop);
	vm->open_streams--;
	pv_loop_unlock(vm->host->loop);
}

/* [locked] Sleeps, after it was found that there is nothing now. Returns 0 to look again. */
static int wait_for_more(
    struct pv_vm *vm, const char *action, unsigned endings, int64_t deadline_ns, struct pv_err *err)
{
	int status = pv_vm_verdict_since(vm, endings, action, err);
	if (status)
		return status;
	if (vm->host->interrupt)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: %s: %s", vm->name,
		    action, vm->host->interrupt);
	if (vm->state == PV_VM_PAUSED)
		return pv_vm_wrong_state(vm, action, err);
	if (pv_clock_now() >= deadline_ns)
		return -ETIMEDOUT;
	pv_loop_wait(vm->host->loop, deadline_ns);
	return 0;
}

int pv_vm_stream_take(struct pv_vm *vm, struct pv_agent_stream *stream, size_t max,
    int64_t deadline_ns, struct pv_bytes *out, struct pv_err *err)
{
	int status = 0, count;
	pv_loop_lock(vm->host->loop);
	const unsigned endings = vm->reports.endings;
	do {
		count = pv_agent_stream_take(stream, out, max, err);
		if (count == -EAGAIN)
			status = wait_for_more(vm, "read the stream", endings, deadline_ns, err);
	} while (count == -EAGAIN && status == 0);
	if (count == -ECONNRESET && vm->state == PV_VM_DEAD && vm->death[0])
		pv_err_set(err, PV_ERR_GUEST, ECONNRESET, "%s", vm->death);
	pv_loop_unlock(vm->host->loop);
	if (count < 0 && count != -EAGAIN && count != -ECONNRESET)
		pv_err_prefix(err, "vm `%s`", vm->name);
	return count == -EAGAIN ? status : count;
}

/* --- console --- */

void pv_vm_console_reader_begin(struct pv_vm *vm, struct pv_vm_console_reader *reader)
{
	pv_loop_lock(vm->host->loop);
	*reader = (struct pv_vm_console_reader){
	    .at = vm->log.dropped + vm->log.text.len,
	    .boot = vm->log.boots,
	    .before_boot = vm->state == PV_VM_CREATED,
	};
	pv_loop_unlock(vm->host->loop);
}

/* [locked] Up to where the reader's boot has printed. */
static uint64_t end_of(const struct pv_vm *vm, struct pv_vm_console_reader *reader)
{
	const struct pv_console_log *log = &vm->log;
	if (reader->before_boot && log->boots != reader->boot) {
		reader->before_boot = false;
		reader->boot = log->boots;
	}
	return log->boots == reader->boot ? log->dropped + log->text.len : log->boot_start;
}

/* [locked] */
static bool is_over(const struct pv_vm *vm, const struct pv_vm_console_reader *reader)
{
	if (vm->log.boots != reader->boot)
		return true;
	return vm->state == PV_VM_SHUTDOWN || vm->state == PV_VM_DEAD;
}

/* [locked] Why nothing more comes. */
static int say_over(
    const struct pv_vm *vm, const struct pv_vm_console_reader *reader, struct pv_err *err)
{
	const char *why = "the VM was shut down";
	if (vm->log.boots != reader->boot)
		why = "the guest was reset or rebooted";
	else if (vm->state == PV_VM_DEAD && vm->death[0])
		why = vm->death;
	return pv_err_set(err, PV_ERR_GUEST, ECONNRESET, "%s", why);
}

/* [locked] Returns how many bytes it moved. */
static int take_text(struct pv_vm *vm, struct pv_vm_console_reader *reader, size_t max,
    struct pv_bytes *out, struct pv_err *err)
{
	const struct pv_console_log *log = &vm->log;
	uint64_t end = end_of(vm, reader);
	/* Whoever is so far behind has lost what was dropped from the log. */
	if (reader->at < log->dropped)
		reader->at = log->dropped;
	if (reader->at >= end)
		return 0;
	size_t len = end - reader->at < max ? (size_t)(end - reader->at) : max;
	if (pv_bytes_append(out, log->text.data + (reader->at - log->dropped), len) < 0)
		return pv_err_nomem(err, "text of a console");
	reader->at += len;
	return (int)len;
}

int pv_vm_console_take(struct pv_vm *vm, struct pv_vm_console_reader *reader, size_t max,
    int64_t deadline_ns, struct pv_bytes *out, struct pv_err *err)
{
	int status = 0, count;
	pv_loop_lock(vm->host->loop);
	const unsigned endings = vm->reports.endings;
	do {
		count = take_text(vm, reader, max, out, err);
		if (count != 0)
			break;
		status = is_over(vm, reader)
			     ? say_over(vm, reader, err)
			     : wait_for_more(vm, "read the console", endings, deadline_ns, err);
	} while (status == 0);
	pv_loop_unlock(vm->host->loop);
	return count != 0 ? count : status;
}

bool pv_vm_console_is_over(struct pv_vm *vm, struct pv_vm_console_reader *reader)
{
	pv_loop_lock(vm->host->loop);
	bool over = reader->at >= end_of(vm, reader) && is_over(vm, reader);
	pv_loop_unlock(vm->host->loop);
	return over;
}
