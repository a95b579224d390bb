/* See fake_stream.h. */
#include "tests/unit/fake_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/stream.h"
#include "base/err.h"
#include "lab/vm_private.h"

#define ROTATIONS_MAX 8

struct pv_agent_stream {
	char *text;
	char *at;
	uint64_t given;
	uint64_t rotations[ROTATIONS_MAX];
	size_t rotation_count;
	bool over;
	bool truncated;
};

unsigned fake_streams_open;

static int begin(struct pv_agent_stream **out, const char *text)
{
	*out = calloc(1, sizeof(**out));
	(*out)->text = (*out)->at = strdup(text);
	fake_streams_open++;
	return 0;
}

int pv_agent_stream_tail(const struct pv_principal *by, const char *path,
    enum pv_agent_stream_from from, int64_t offset, struct pv_agent_stream **out,
    struct pv_err *err)
{
	char text[300];
	if (strcmp(path, "/nope") == 0)
		return pv_err_set(err, PV_ERR_GUEST, ENOENT, "tail `%s`: No such file", path);
	if (strcmp(path, "/where") != 0)
		return begin(out, path);
	snprintf(text, sizeof(text), "%s%+" PRId64,
	    from == PV_AGENT_STREAM_FROM_END ? "end" : "start", offset);
	return begin(out, text);
}

int pv_agent_stream_handle(
    const struct pv_principal *by, int64_t handle, struct pv_agent_stream **out, struct pv_err *err)
{
	char text[40];
	if (handle > 1000)
		return pv_err_set(err, PV_ERR_GUEST, EPROTO, "no open file has this number");
	snprintf(text, sizeof(text), "handle %" PRId64, handle);
	return begin(out, text);
}

bool pv_agent_stream_is_over(const struct pv_agent_stream *stream)
{
	return stream->over;
}

bool pv_agent_stream_is_truncated(const struct pv_agent_stream *stream)
{
	return stream->truncated;
}

bool pv_agent_stream_rotation(const struct pv_agent_stream *stream, size_t index, uint64_t *offset)
{
	if (index >= stream->rotation_count)
		return false;
	*offset = stream->rotations[index];
	return true;
}

void pv_agent_stream_close(struct pv_agent_stream *stream)
{
	if (!stream)
		return;
	fake_streams_open--;
	free(stream->text);
	free(stream);
}

static bool take_word(struct pv_agent_stream *stream, const char *word)
{
	size_t len = strlen(word);
	if (strncmp(stream->at, word, len) != 0)
		return false;
	stream->at += len;
	return true;
}

int pv_vm_stream_take(struct pv_vm *vm, struct pv_agent_stream *stream, size_t max,
    int64_t deadline_ns, struct pv_bytes *out, struct pv_err *err)
{
	if (take_word(stream, "ROTATED|"))
		stream->rotations[stream->rotation_count++] = stream->given;
	stream->over = stream->over || strncmp(stream->at, "EOF", 3) == 0 ||
		       strncmp(stream->at, "CUT", 3) == 0 || strncmp(stream->at, "LOST", 4) == 0;
	stream->truncated = strncmp(stream->at, "CUT", 3) == 0;
	if (strncmp(stream->at, "LOST", 4) == 0)
		return pv_err_set(err, PV_ERR_GUEST, ECONNRESET, "the VM was reset");
	if (take_word(stream, "FAIL"))
		return pv_err_set(err, PV_ERR_GUEST, EIO, "vm `%s`: Input/output error", vm->name);
	if (stream->over)
		return 0;
	if (*stream->at == '\0')
		return -ETIMEDOUT;
	size_t len = strcspn(stream->at, "|");
	if (len > max)
		len = max;
	pv_bytes_append(out, stream->at, len);
	stream->at += len;
	stream->given += len;
	take_word(stream, "|");
	return (int)len;
}

void pv_vm_stream_opened(struct pv_vm *vm)
{
	vm->open_streams++;
}

void pv_vm_stream_closed(struct pv_vm *vm)
{
	vm->open_streams--;
}

/* --- console --- */

static size_t console_len(struct pv_vm *vm)
{
	struct pv_bytes log = {0};
	pv_vm_console_log(vm, &log);
	size_t len = log.len;
	pv_bytes_finish(&log);
	return len;
}

void pv_vm_console_reader_begin(struct pv_vm *vm, struct pv_vm_console_reader *reader)
{
	*reader = (struct pv_vm_console_reader){.at = console_len(vm)};
}

int pv_vm_console_take(struct pv_vm *vm, struct pv_vm_console_reader *reader, size_t max,
    int64_t deadline_ns, struct pv_bytes *out, struct pv_err *err)
{
	struct pv_bytes log = {0};
	pv_vm_console_log(vm, &log);
	size_t len = log.len - reader->at < max ? log.len - reader->at : max;
	pv_bytes_append(out, log.data + reader->at, len);
	reader->at += len;
	pv_bytes_finish(&log);
	if (len == 0 && !pv_vm_console_is_over(vm, reader))
		return -ETIMEDOUT;
	return (int)len;
}

bool pv_vm_console_is_over(struct pv_vm *vm, struct pv_vm_console_reader *reader)
{
	return reader->at == console_len(vm) && pv_vm_state(vm) == PV_VM_SHUTDOWN;
}
