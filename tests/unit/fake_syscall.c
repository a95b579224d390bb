/* See fake_syscall.h. */
#include "tests/unit/fake_syscall.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/client.h"
#include "agent/host/syscall.h"
#include "base/err.h"

char fake_syscall_last[1024];
unsigned fake_syscall_pending;
int fake_syscall_errno;

static uint8_t memory[4096];

struct pv_agent_syscall_pending {
	struct pv_agent_syscall_result result;
	bool lost;
};

static void add_numbers(struct pv_bytes *text, const char *title, const int64_t *at, size_t count)
{
	if (count > 0)
		pv_bytes_printf(text, " %s=[", title);
	for (size_t i = 0; i < count; i++)
		pv_bytes_printf(text, "%s%" PRId64, i > 0 ? "," : "", at[i]);
	if (count > 0)
		pv_bytes_printf(text, "]");
}

static void describe(const struct pv_agent_syscall *call)
{
	struct pv_bytes text = {0};
	pv_bytes_printf(&text, "%" PRId64, call->nr);
	add_numbers(&text, "args", call->args, call->arg_count);
	add_numbers(&text, "lens", call->lens, call->buf_count);
	add_numbers(&text, "ptrs", call->ptrs, call->ptr_count);
	add_numbers(&text, "nested", call->nested, 3 * call->nested_count);
	if (call->len > 0) {
		pv_bytes_printf(&text, " data=");
		pv_bytes_append(&text, call->data, call->len);
	}
	if (call->handle != 0)
		pv_bytes_printf(&text, " handle=%" PRId64, call->handle);
	pv_bytes_printf(&text, "%s", call->aside ? " aside" : "");
	snprintf(fake_syscall_last, sizeof(fake_syscall_last), "%.*s", (int)text.len,
	    (const char *)text.data);
	pv_bytes_finish(&text);
}

const char *pv_agent_syscall_refusal(int64_t nr, int64_t first_arg)
{
	return nr == 60 ? "exit would end it" : NULL;
}

int pv_agent_syscall_begin(const struct pv_principal *by, const struct pv_agent_syscall *syscall,
    struct pv_agent_syscall_pending **out, struct pv_err *err)
{
	describe(syscall);
	*out = calloc(1, sizeof(**out));
	struct pv_agent_syscall_result *result = &(*out)->result;
	(*out)->lost = syscall->nr == 1002;
	result->ret = syscall->nr;
	if (fake_syscall_errno != 0) {
		result->ret = -1;
		result->code = fake_syscall_errno;
	} else if (syscall->nr == 1000) {
		result->ret = -1;
		result->code = (int)syscall->args[0];
	}
	pv_bytes_append(&result->out, syscall->data, syscall->len);
	for (size_t i = 0; syscall->nr == 1001 && i < result->out.len; i++)
		result->out.data[i] = (uint8_t)toupper(result->out.data[i]);
	fake_syscall_pending++;
	return 0;
}

bool pv_agent_syscall_is_over(const struct pv_agent_syscall_pending *pending)
{
	return !pending->lost;
}

int pv_agent_syscall_end(struct pv_agent_syscall_pending *pending,
    struct pv_agent_syscall_result *result, struct pv_err *err)
{
	bool lost = pending->lost;
	*result = (struct pv_agent_syscall_result){0};
	if (!lost) {
		*result = pending->result;
		pending->result.out = (struct pv_bytes){0};
	}
	pv_agent_syscall_drop(pending);
	return lost ? pv_err_set(err, PV_ERR_GUEST, ECONNRESET, "the guest was shut down") : 0;
}

int pv_agent_syscall(const struct pv_principal *by, const struct pv_agent_syscall *syscall,
    struct pv_agent_syscall_result *result, struct pv_err *err)
{
	struct pv_agent_syscall_pending *pending;
	pv_agent_syscall_begin(by, syscall, &pending, err);
	return pv_agent_syscall_end(pending, result, err);
}

void pv_agent_syscall_drop(struct pv_agent_syscall_pending *pending)
{
	if (!pending)
		return;
	pv_bytes_finish(&pending->result.out);
	free(pending);
	fake_syscall_pending--;
}

static bool is_there(uint64_t addr, uint64_t len)
{
	return addr >= 4096 && addr <= 8192 && len <= 8192 - addr;
}

int pv_agent_read_mem(const struct pv_principal *by, uint64_t addr, uint64_t len,
    struct pv_bytes *out, int *code, struct pv_err *err)
{
	*code = is_there(addr, len) ? 0 : EFAULT;
	return *code == 0 ? pv_bytes_append(out, memory + addr - 4096, (size_t)len) : 0;
}

int pv_agent_write_mem(const struct pv_principal *by, uint64_t addr, const void *data, size_t len,
    int *code, struct pv_err *err)
{
	*code = is_there(addr, len) ? 0 : EFAULT;
	if (*code == 0)
		memcpy(memory + addr - 4096, data, len);
	return 0;
}
