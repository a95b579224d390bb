/*
 * Operations on open files: each a call of its own. What the agent says about sizes is compared
 * with what came and what was sent.
 */
#include "agent/host/open_file.h"

#include <errno.h>
#include <inttypes.h>

#include "agent/host/transfer.h"

static bool take_handle(void *ctx, const struct pv_reply *reply)
{
	int64_t *handle = ctx;
	return pv_reply_get_number(reply, "handle", handle) && *handle > 0;
}

static bool take_size(void *ctx, const struct pv_reply *reply)
{
	return pv_reply_get_size(reply, ctx);
}

static bool take_offset(void *ctx, const struct pv_reply *reply)
{
	int64_t *offset = ctx;
	return pv_reply_get_number(reply, "offset", offset) && *offset >= 0;
}

int pv_agent_open_file(const struct pv_principal *by, const char *path,
    const struct pv_agent_open *how, int64_t *handle, uint64_t *boot, struct pv_err *err)
{
	int64_t flags = (how->read ? PV_PROTOCOL_OPEN_READ : 0) |
			(how->write ? PV_PROTOCOL_OPEN_WRITE : 0) |
			(how->create ? PV_PROTOCOL_OPEN_CREATE : 0) |
			(how->truncate ? PV_PROTOCOL_OPEN_TRUNCATE : 0) |
			(how->append ? PV_PROTOCOL_OPEN_APPEND : 0) |
			(how->exclusive ? PV_PROTOCOL_OPEN_EXCLUSIVE : 0);
	struct pv_agent_transfer transfer = {
	    .request = {.op = PV_REQUEST_OPEN,
			.handle = {.path = path, .flags = flags, .mode = how->perm & 07777}},
	    .result = take_handle,
	    .ctx = handle,
	};
	int status = pv_agent_transfer_run(by, &transfer, err);
	*boot = transfer.boot;
	return status < 0 ? pv_err_prefix(err, "open `%.400s`", path) : 0;
}

int pv_agent_handle_read(const struct pv_principal *by, int64_t handle, int64_t size,
    struct pv_bytes *out, struct pv_err *err)
{
	uint64_t told = 0;
	size_t before = out->len;
	struct pv_agent_transfer transfer = {
	    .request = {.op = PV_REQUEST_READ, .handle = {.handle = handle, .size = size}},
	    .sink = out,
	    .result = take_size,
	    .ctx = &told,
	};
	int status = pv_agent_transfer_run(by, &transfer, err);
	size_t came = out->len - before;
	if (status == 0 && (told != came || (size >= 0 && came > (uint64_t)size)))
		status = pv_err_set(err, PV_ERR_GUEST, EPROTO,
		    "%zu bytes came, the agent says %" PRIu64, came, told);
	if (status < 0)
		out->len = before;
	return status;
}

int pv_agent_handle_write(
    const struct pv_principal *by, int64_t handle, const void *data, size_t len, struct pv_err *err)
{
	uint64_t told = 0;
	size_t first = pv_agent_transfer_first(len);
	struct pv_agent_transfer transfer = {
	    .request = {.op = PV_REQUEST_WRITE,
			.handle = {.handle = handle,
		    .data = {.data = data, .len = first},
		    .more = len > first}					},
	    .first = {.data = data,			    .len = first	},
	    .rest = {.data = (const char *)data + first, .len = len - first},
	    .result = take_size,
	    .ctx = &told,
	};
	int status = pv_agent_transfer_run(by, &transfer, err);
	if (status == 0 && told != len)
		status = pv_err_set(err, PV_ERR_GUEST, EPROTO,
		    "%zu bytes were sent, the agent wrote %" PRIu64, len, told);
	return status;
}

int pv_agent_handle_seek(const struct pv_principal *by, int64_t handle, int64_t offset,
    enum pv_agent_whence whence, int64_t *at, struct pv_err *err)
{
	struct pv_agent_transfer transfer = {
	    .request = {.op = PV_REQUEST_SEEK,
			.handle = {.handle = handle, .offset = offset, .whence = whence}},
	    .result = take_offset,
	    .ctx = at,
	};
	return pv_agent_transfer_run(by, &transfer, err);
}

int pv_agent_handle_close(const struct pv_principal *by, int64_t handle, struct pv_err *err)
{
	struct pv_agent_transfer transfer = {
	    .request = {.op = PV_REQUEST_CLOSE, .handle = {.handle = handle}},
	};
	return pv_agent_transfer_run(by, &transfer, err);
}
