/*
 * File operations in the guest. Called on the script thread without the loop lock.
 */
#include <errno.h>
#include <inttypes.h>

#include "agent/host/client.h"
#include "agent/host/transfer.h"

_Static_assert((int)PV_AGENT_FILE == PV_REPLY_FILE && (int)PV_AGENT_OTHER == PV_REPLY_OTHER,
    "the client's and the protocol's names are the same numbers");

const char *pv_agent_entry_name(enum pv_agent_entry_type type)
{
	return pv_reply_entry_name((enum pv_reply_entry)type);
}

static bool take_size(void *ctx, const struct pv_reply *reply)
{
	return pv_reply_get_size(reply, ctx);
}

bool pv_agent_stat_take(void *ctx, const struct pv_reply *reply)
{
	struct pv_agent_stat *out = ctx;
	struct pv_reply_stat info;
	if (!pv_reply_get_stat(reply, &info))
		return false;
	*out = (struct pv_agent_stat){
	    .size = info.size,
	    .mtime_ns = info.mtime_ns,
	    .perm = info.perm,
	    .type = (enum pv_agent_entry_type)info.entry,
	};
	return true;
}

static int run(
    const struct pv_principal *by, struct pv_agent_transfer *transfer, struct pv_err *err)
{
	int status = pv_agent_transfer_run(by, transfer, err);
	if (status < 0)
		pv_err_prefix(err, "%s `%.400s`", pv_request_name(transfer->request.op),
		    transfer->request.file.path);
	return status;
}

int pv_agent_read_file(
    const struct pv_principal *by, const char *path, struct pv_bytes *out, struct pv_err *err)
{
	uint64_t size = 0;
	size_t before = out->len;
	struct pv_agent_transfer transfer = {
	    .request = {.op = PV_REQUEST_READ_FILE, .file = {.path = path}},
	    .sink = out,
	    .result = take_size,
	    .ctx = &size,
	};
	int status = run(by, &transfer, err);
	if (status == 0 && size != out->len - before)
		status = pv_err_set(err, PV_ERR_GUEST, EPROTO,
		    "read_file `%.400s`: %zu bytes came, the agent says %" PRIu64, path,
		    out->len - before, size);
	if (status < 0)
		out->len = before;
	return status;
}

int pv_agent_write_file(const struct pv_principal *by, const char *path, const void *data,
    size_t len, unsigned mode, struct pv_err *err)
{
	uint64_t size = 0;
	size_t first = pv_agent_transfer_first(len);
	struct pv_agent_transfer transfer = {
	    .request =
		{
			  .op = PV_REQUEST_WRITE_FILE,
			  .file =
			{
			    .path = path,
			    .mode = mode & 07777,
			    .data = {.data = data, .len = first},
			    .more = len > first,
			},		       },
	    .first = {.data = data,			    .len = first},
	    .rest = {.data = (const char *)data + first,				 .len = len - first				   },
	    .result = take_size,
	    .ctx = &size,
	};
	int status = run(by, &transfer, err);
	if (status == 0 && size != len)
		status = pv_err_set(err, PV_ERR_GUEST, EPROTO,
		    "write_file `%.400s`: %zu bytes were sent, the agent wrote %" PRIu64, path, len,
		    size);
	return status;
}

int pv_agent_stat(const struct pv_principal *by, const char *path, bool follow_symlinks,
    struct pv_agent_stat *out, struct pv_err *err)
{
	struct pv_agent_transfer transfer = {
	    .request =
		{
			  .op = PV_REQUEST_STAT,
			  .file = {.path = path, .follow = follow_symlinks},
			  },
	    .result = pv_agent_stat_take,
	    .ctx = out,
	};
	return run(by, &transfer, err);
}
