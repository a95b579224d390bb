/*
 * A batch is a row of steps. A step is one call to the agent: an operation, or system calls that
 * follow one another. Every step names the one before it (`after` of the request), so all can be on
 * the way at once, in one write, and the guest still does them in order; nothing is asked back in
 * between.
 *
 * Two things end such a wave, and the next one begins when all of it has been answered: the limit
 * on calls under way, and data that does not fit into its request, because the rest of it is
 * welcome only when the operation has begun. Script thread; what the loop thread calls says so.
 */
#include "agent/host/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/path.h"
#include "agent/host/transfer.h"
#include "base/loop.h"

/* Steps of a wave; leaves room for calls that others make. */
#define WAVE_MAX (PV_PROTOCOL_CALLS_MAX / 4)
/* Bytes of a wave that wait for the link. */
#define WAVE_BYTES (4u << 20)
/* System calls of one step. */
#define ROW_MAX 4096u

/* Larger than any errno (MAX_ERRNO of include/linux/err.h). */
#define ERRNO_END 4096

struct step {
	struct pv_agent_call *call; /* NULL: it could not begin */
	struct pv_agent_item *items;
	size_t count; /* more than 1 for system calls only */
	uint64_t size;
	struct pv_bytes rets; /* of system calls, 8 bytes each */
	bool surplus;
	struct pv_err err;
	int status;
};

struct wave {
	const struct pv_principal *by;
	struct step *steps;
	size_t count;
	uint64_t last_id; /* of the call that the next one follows, or 0 */
};

/* --- what comes back, on the loop thread --- */

static bool take_result(void *ctx, const struct pv_reply *reply)
{
	struct step *step = ctx;
	struct pv_agent_item *item = step->items;
	switch (item->kind) {
	case PV_AGENT_ITEM_EXEC: return pv_agent_exec_take(&item->exec_result, reply);
	case PV_AGENT_ITEM_READ_FILE:
	case PV_AGENT_ITEM_WRITE_FILE: return pv_reply_get_size(reply, &step->size);
	case PV_AGENT_ITEM_STAT: return pv_agent_stat_take(&item->stat, reply);
	default: return true;
	}
}

/* Results of system calls: no more than were asked for. */
static int take_rets(void *ctx, enum pv_protocol_channel channel, struct pv_span data)
{
	struct step *step = ctx;
	if (channel != PV_PROTOCOL_CHANNEL_MEMORY ||
	    data.len > step->count * sizeof(int64_t) - step->rets.len) {
		step->surplus = true;
		return 0;
	}
	return pv_bytes_append(&step->rets, data.data, data.len);
}

/* --- asking --- */

static void fill_exec(const struct pv_agent_item *item, struct pv_request *request, size_t *first)
{
	*request = pv_agent_exec_request(&item->exec, PV_REQUEST_EXEC);
	*first = request->exec.data.len;
}

static void fill_file(const struct pv_agent_item *item, struct pv_request *request, size_t *first)
{
	static const enum pv_request_op ops[] = {
	    [PV_AGENT_ITEM_READ_FILE] = PV_REQUEST_READ_FILE,
	    [PV_AGENT_ITEM_WRITE_FILE] = PV_REQUEST_WRITE_FILE,
	    [PV_AGENT_ITEM_STAT] = PV_REQUEST_STAT,
	    [PV_AGENT_ITEM_LIST] = PV_REQUEST_LIST,
	    [PV_AGENT_ITEM_MKDIR] = PV_REQUEST_MKDIR,
	    [PV_AGENT_ITEM_UNLINK] = PV_REQUEST_UNLINK,
	    [PV_AGENT_ITEM_RENAME] = PV_REQUEST_RENAME,
	};
	bool writes = item->kind == PV_AGENT_ITEM_WRITE_FILE;
	size_t len = writes ? item->len : 0;
	*first = pv_agent_transfer_first(len);
	*request = (struct pv_request){
	    .op = ops[item->kind],
	    .file =
		{
		       .path = item->path,
		       .to = item->to,
		       .follow = true,
		       .parents = item->parents,
		       .mode = writes ? 0644 : item->perm & 07777,
		       .data = {.data = item->data, .len = *first},
		       .more = len > *first,
		       },
	};
}

/* All the words of the step's system calls in a row. Returns 0 or -ENOMEM. */
static int fill_row(const struct step *step, struct pv_request *request, struct pv_bytes *words)
{
	for (size_t i = 0; i < step->count; i++) {
		const int64_t *from = step->items[i].words;
		if (pv_bytes_append(words, from, sizeof(step->items[i].words)) < 0)
			return -ENOMEM;
	}
	*request = (struct pv_request){
	    .op = PV_REQUEST_SYSCALLS,
	    .syscalls = {(const int64_t *)(const void *)words->data,
			 step->count * PV_AGENT_ITEM_WORDS},
	};
	return 0;
}

/* Where its data goes. */
static void connect_sinks(struct step *step, struct pv_agent_call *call)
{
	struct pv_agent_item *item = step->items;
	call->result = take_result;
	call->ctx = step;
	if (item->kind == PV_AGENT_ITEM_SYSCALL)
		call->data = take_rets;
	call->sinks[PV_PROTOCOL_CHANNEL_FILE] = &item->out;
	call->sinks[PV_PROTOCOL_CHANNEL_STDOUT] = &item->exec_result.out;
	call->sinks[PV_PROTOCOL_CHANNEL_STDERR] = &item->exec_result.err;
}

/* Queues the step. Returns 0 or -errno; then nothing is under way. */
static int begin(struct wave *wave, struct step *step, struct pv_request *request, size_t first)
{
	struct pv_agent_call *call = pv_agent_call_create(request->op);
	if (!call)
		return pv_err_nomem(&step->err, "a call to the guest's agent");
	connect_sinks(step, call);
	request->after = wave->last_id;
	int status = pv_agent_call_begin(wave->by, call, request, first, &step->err);
	if (status < 0)
		return status;
	step->call = call;
	wave->last_id = call->id;
	return 0;
}

static struct pv_span data_of(const struct pv_agent_item *item)
{
	if (item->kind == PV_AGENT_ITEM_EXEC)
		return (struct pv_span){.data = item->exec.input, .len = item->exec.input_len};
	if (item->kind == PV_AGENT_ITEM_WRITE_FILE)
		return (struct pv_span){.data = item->data, .len = item->len};
	return (struct pv_span){0};
}

static void ask(struct wave *wave, struct step *step)
{
	struct pv_request request;
	struct pv_bytes words = {0};
	size_t first = 0;
	if (step->items->kind == PV_AGENT_ITEM_EXEC)
		fill_exec(step->items, &request, &first);
	else if (step->items->kind != PV_AGENT_ITEM_SYSCALL)
		fill_file(step->items, &request, &first);
	else if (fill_row(step, &request, &words) < 0)
		step->status = pv_err_nomem(&step->err, "a row of system calls");
	if (step->status == 0)
		step->status = begin(wave, step, &request, first);
	pv_bytes_finish(&words);
	struct pv_span data = data_of(step->items);
	if (step->status == 0 && first < data.len)
		pv_agent_call_upload(step->call, (const char *)data.data + first, data.len - first);
}

/* --- the end of a wave --- */

static void fail(struct pv_agent_item *item, const char *text)
{
	free(item->error);
	item->error = strdup(text);
	if (!item->error) {
		/* So that it is no success. */
		static const char empty[] = "out of memory";
		item->error = malloc(sizeof(empty));
		if (item->error)
			memcpy(item->error, empty, sizeof(empty));
	}
}

/* Whether what came is what the agent says. */
static int check(struct step *step)
{
	const struct pv_agent_item *item = step->items;
	uint64_t expected = step->size;
	if (item->kind == PV_AGENT_ITEM_READ_FILE)
		expected = item->out.len;
	else if (item->kind == PV_AGENT_ITEM_WRITE_FILE)
		expected = item->len;
	if (step->size != expected)
		return pv_err_set(&step->err, PV_ERR_GUEST, EPROTO,
		    "the agent says %" PRIu64 " bytes, it were %" PRIu64, step->size, expected);
	if (item->kind == PV_AGENT_ITEM_LIST && !pv_agent_list_is_whole(&item->out))
		return pv_err_set(
		    &step->err, PV_ERR_GUEST, EPROTO, "the guest's agent sent no list of names");
	if (item->kind == PV_AGENT_ITEM_SYSCALL &&
	    (step->surplus || step->rets.len != step->count * sizeof(int64_t)))
		return pv_err_set(&step->err, PV_ERR_GUEST, EPROTO,
		    "%zu system calls have %zu bytes of results%s", step->count, step->rets.len,
		    step->surplus ? " and more" : "");
	return 0;
}

static void name_step(struct step *step)
{
	const struct pv_agent_item *item = step->items;
	static const char *const names[] = {
	    "exec", "read_file", "write_file", "stat", "list", "mkdir", "unlink", "rename"};
	if (item->kind == PV_AGENT_ITEM_SYSCALL)
		pv_err_prefix(&step->err, "syscall");
	else if (item->kind == PV_AGENT_ITEM_RENAME)
		pv_err_prefix(&step->err, "rename `%.300s` to `%.300s`", item->path, item->to);
	else
		pv_err_prefix(&step->err, "%s `%.400s`", names[item->kind],
		    item->kind == PV_AGENT_ITEM_EXEC ? item->exec.argv[0] : item->path);
}

static void give_rets(struct step *step)
{
	for (size_t i = 0; i < step->count; i++) {
		int64_t ret = (int64_t)pv_le64(step->rets.data + i * sizeof(int64_t));
		bool failed = ret < 0 && ret > -ERRNO_END;
		step->items[i].syscall_result.ret = failed ? -1 : ret;
		step->items[i].syscall_result.code = failed ? (int)-ret : 0;
	}
}

/* Waits for all of a wave, and frees it. */
static void end_wave(struct wave *wave)
{
	pv_agent_flush(wave->by->agent);
	for (size_t i = 0; i < wave->count; i++) {
		struct step *step = &wave->steps[i];
		if (step->call)
			step->status =
			    pv_agent_call_end(step->call, wave->by->agent->loop, &step->err);
		if (step->status == 0)
			step->status = check(step);
		if (step->status < 0) {
			name_step(step);
			for (size_t item = 0; item < step->count; item++)
				fail(&step->items[item], step->err.text);
		} else if (step->items->kind == PV_AGENT_ITEM_SYSCALL) {
			give_rets(step);
		}
		pv_bytes_finish(&step->rets);
	}
	wave->count = 0;
	wave->last_id = 0;
}

static size_t row_length(const struct pv_agent_item *items, size_t count)
{
	size_t length = 1;
	if (items[0].kind != PV_AGENT_ITEM_SYSCALL)
		return 1;
	while (length < count && length < ROW_MAX && items[length].kind == PV_AGENT_ITEM_SYSCALL)
		length++;
	return length;
}

static void run(struct wave *wave, struct pv_agent_item *items, size_t count)
{
	struct pv_agent *agent = wave->by->agent;
	for (size_t at = 0, length; at < count; at += length) {
		bool large = data_of(&items[at]).len > PV_PROTOCOL_CHUNK;
		length = row_length(&items[at], count - at);
		if (wave->count > 0 && (large || wave->count == WAVE_MAX ||
					   pv_link_unsent(&agent->link).len > WAVE_BYTES)) {
			agent->corked = false;
			end_wave(wave);
		}
		struct step *step = &wave->steps[wave->count++];
		*step = (struct step){.items = &items[at], .count = length};
		agent->corked = !large;
		ask(wave, step);
	}
	agent->corked = false;
	end_wave(wave);
}

int pv_agent_batch(
    const struct pv_principal *by, struct pv_agent_item *items, size_t count, struct pv_err *err)
{
	struct wave wave = {.by = by};
	wave.steps = calloc(WAVE_MAX, sizeof(*wave.steps));
	if (!wave.steps)
		return pv_err_nomem(err, "a batch");
	pv_loop_lock(by->agent->loop);
	int status = by->agent->ready ? 0 : pv_agent_call_no_link(by->agent, err);
	if (status == 0)
		run(&wave, items, count);
	pv_loop_unlock(by->agent->loop);
	free(wave.steps);
	return status;
}

void pv_agent_item_release(struct pv_agent_item *item)
{
	free(item->error);
	item->error = NULL;
	pv_bytes_finish(&item->exec_result.out);
	pv_bytes_finish(&item->exec_result.err);
	pv_bytes_finish(&item->out);
}
