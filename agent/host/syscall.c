/*
 * Calls of system calls. Begun and ended apart, because some are awaited much later, or never. The
 * content of buffers goes up as other bulk data does and comes back as data; the result is what the
 * kernel returned. What comes back must be as long as what was sent: a hostile agent gets no more
 * of our memory than the caller has offered. Script thread; what the loop thread calls says so.
 */
#include "agent/host/syscall.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "agent/host/client.h"
#include "agent/host/transfer.h"
#include "base/loop.h"

_Static_assert(PV_AGENT_BUFFERS_MAX == PV_PROTOCOL_STRINGS_MAX &&
		   PV_AGENT_MEMORY_MAX == PV_PROTOCOL_MEMORY_MAX,
    "one limit, two headers");

/* Larger than any errno (MAX_ERRNO of include/linux/err.h). */
#define ERRNO_END 4096

#define ARCH_SET_FS 0x1002

struct pv_agent_syscall_pending {
	struct pv_agent_call *call;
	struct pv_loop *loop;
	int64_t ret;
	uint64_t expected; /* bytes that are to come back when it works */
	struct pv_bytes out;
	bool surplus; /* more came */
};

const char *pv_agent_syscall_refusal(int64_t nr, int64_t first_arg)
{
	/* The kernel looks at 32 bits, and at this one for its second interface. */
	uint32_t number = (uint32_t)nr & ~UINT32_C(0x40000000);
	switch (number) {
	case SYS_exit:
	case SYS_exit_group:
		return "exit would end the process that serves this test; let a program do it "
		       "(run, run_async), or end a worker with join";
	case SYS_execve:
	case SYS_execveat:
	case 520: /* the same two of the second interface */
	case 545:
		return "execve would replace the process that serves this test; start programs "
		       "with run or run_async";
	case SYS_rt_sigreturn:
	case 513:
		return "rt_sigreturn would crash the process that serves this test; let a program "
		       "do it (run, run_async)";
	case SYS_arch_prctl:
		return first_arg == ARCH_SET_FS
			   ? "ARCH_SET_FS would crash the process that serves this test; let a "
			     "program do it (run, run_async)"
			   : NULL;
	default: return NULL;
	}
}

/* --- on the loop thread --- */

static bool take_ret(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_syscall_pending *pending = ctx;
	return pv_reply_get_number(reply, "ret", &pending->ret);
}

static int take_data(void *ctx, enum pv_protocol_channel channel, struct pv_span data)
{
	struct pv_agent_syscall_pending *pending = ctx;
	if (channel != PV_PROTOCOL_CHANNEL_MEMORY ||
	    data.len > pending->expected - pending->out.len) {
		pending->surplus = true;
		return 0;
	}
	return pv_bytes_append(&pending->out, data.data, data.len);
}

/* --- begin and end --- */

static void destroy(struct pv_agent_syscall_pending *pending)
{
	pv_bytes_finish(&pending->out);
	free(pending);
}

/* `upload` is the caller's data; as much of it as fits is in the request already. */
static int begin(const struct pv_principal *by, struct pv_request *request, struct pv_span upload,
    size_t first, uint64_t expected, struct pv_agent_syscall_pending **out, struct pv_err *err)
{
	struct pv_agent_syscall_pending *pending = calloc(1, sizeof(*pending));
	struct pv_agent_call *call = pv_agent_call_create(request->op);
	*out = NULL;
	if (!pending || !call) {
		free(pending);
		free(call);
		return pv_err_nomem(err, "a call to the guest's agent");
	}
	*pending = (struct pv_agent_syscall_pending){
	    .call = call, .loop = by->agent->loop, .expected = expected};
	call->data = take_data;
	call->result = take_ret;
	call->ctx = pending;
	pv_loop_lock(pending->loop);
	int status = pv_agent_call_begin(by, call, request, first, err);
	if (status == 0 && first < upload.len)
		pv_agent_call_upload(call, (const char *)upload.data + first, upload.len - first);
	pv_loop_unlock(pending->loop);
	if (status < 0)
		destroy(pending);
	else
		*out = pending;
	return status;
}

/* Waits, and frees the call but not `pending`. */
static int wait_for(struct pv_agent_syscall_pending *pending, struct pv_err *err)
{
	pv_loop_lock(pending->loop);
	int status = pv_agent_call_end(pending->call, pending->loop, err);
	pv_loop_unlock(pending->loop);
	return status;
}

static int check_length(
    const struct pv_agent_syscall_pending *pending, uint64_t expected, struct pv_err *err)
{
	if (!pending->surplus && pending->out.len == expected)
		return 0;
	return pv_err_set(err, PV_ERR_GUEST, EPROTO,
	    "%zu bytes of buffers came back%s where %" PRIu64 " were expected", pending->out.len,
	    pending->surplus ? " and more" : "", expected);
}

int pv_agent_syscall_begin(const struct pv_principal *by, const struct pv_agent_syscall *syscall,
    struct pv_agent_syscall_pending **out, struct pv_err *err)
{
	size_t first = pv_agent_transfer_first(syscall->len);
	struct pv_request request = {
	    .op = PV_REQUEST_SYSCALL,
	    .syscall =
		{
			  .nr = syscall->nr,
			  .args = {syscall->args, syscall->arg_count},
			  .lens = {syscall->lens, syscall->buf_count},
			  .ptrs = {syscall->ptrs, syscall->ptr_count},
			  .nested = {syscall->nested, 3 * syscall->nested_count},
			  .handle = syscall->handle,
			  .aside = syscall->aside,
			  .data = {.data = syscall->data, .len = first},
			  .more = syscall->len > first,
			  },
	};
	const struct pv_span upload = {.data = syscall->data, .len = syscall->len};
	int status = begin(by, &request, upload, first, syscall->len, out, err);
	return status < 0 ? pv_err_prefix(err, "syscall %" PRId64, syscall->nr) : 0;
}

bool pv_agent_syscall_is_over(const struct pv_agent_syscall_pending *pending)
{
	pv_loop_lock(pending->loop);
	const bool is_over = pending->call->done;
	pv_loop_unlock(pending->loop);
	return is_over;
}

int pv_agent_syscall_end(struct pv_agent_syscall_pending *pending,
    struct pv_agent_syscall_result *result, struct pv_err *err)
{
	*result = (struct pv_agent_syscall_result){0};
	int status = wait_for(pending, err);
	if (status == 0)
		status = check_length(pending, pending->expected, err);
	if (status < 0) {
		pv_err_prefix(err, "syscall");
	} else {
		bool failed = pending->ret < 0 && pending->ret > -ERRNO_END;
		result->ret = failed ? -1 : pending->ret;
		result->code = failed ? (int)-pending->ret : 0;
		result->out = pending->out;
		pending->out = (struct pv_bytes){0};
	}
	destroy(pending);
	return status;
}

int pv_agent_syscall(const struct pv_principal *by, const struct pv_agent_syscall *syscall,
    struct pv_agent_syscall_result *result, struct pv_err *err)
{
	struct pv_agent_syscall_pending *pending;
	int status = pv_agent_syscall_begin(by, syscall, &pending, err);
	return status < 0 ? status : pv_agent_syscall_end(pending, result, err);
}

void pv_agent_syscall_drop(struct pv_agent_syscall_pending *pending)
{
	if (!pending)
		return;
	pv_loop_lock(pending->loop);
	pv_agent_call_drop(pending->call);
	pv_loop_unlock(pending->loop);
	destroy(pending);
}

/* --- memory --- */

/* What came of an access: 0 with the kernel's word in `*code`, or -errno. */
static int end_access(
    struct pv_agent_syscall_pending *pending, uint64_t expected, int *code, struct pv_err *err)
{
	int status = wait_for(pending, err);
	*code = 0;
	if (status == 0 && pending->ret < 0 && pending->ret > -ERRNO_END)
		*code = (int)-pending->ret;
	else if (status == 0)
		status = check_length(pending, expected, err);
	return status;
}

int pv_agent_read_mem(const struct pv_principal *by, uint64_t addr, uint64_t len,
    struct pv_bytes *out, int *code, struct pv_err *err)
{
	struct pv_agent_syscall_pending *pending;
	struct pv_request request = {
	    .op = PV_REQUEST_READ_MEM,
	    .memory_at = {.addr = (int64_t)addr, .len = (int64_t)len},
	};
	int status = begin(by, &request, (struct pv_span){0}, 0, len, &pending, err);
	if (status == 0) {
		status = end_access(pending, len, code, err);
		if (status == 0 && *code == 0 &&
		    pv_bytes_append(out, pending->out.data, pending->out.len) < 0)
			status = pv_err_nomem(err, "memory of the guest");
		destroy(pending);
	}
	return status < 0 ? pv_err_prefix(err, "read_mem 0x%" PRIx64, addr) : 0;
}

int pv_agent_write_mem(const struct pv_principal *by, uint64_t addr, const void *data, size_t len,
    int *code, struct pv_err *err)
{
	struct pv_agent_syscall_pending *pending;
	size_t first = pv_agent_transfer_first(len);
	struct pv_request request = {
	    .op = PV_REQUEST_WRITE_MEM,
	    .memory_at =
		{
			    .addr = (int64_t)addr,
			    .len = (int64_t)len,
			    .data = {.data = data, .len = first},
			    .more = len > first,
			    },
	};
	const struct pv_span upload = {.data = data, .len = len};
	int status = begin(by, &request, upload, first, 0, &pending, err);
	if (status == 0) {
		status = end_access(pending, 0, code, err);
		destroy(pending);
	}
	return status < 0 ? pv_err_prefix(err, "write_mem 0x%" PRIx64, addr) : 0;
}
