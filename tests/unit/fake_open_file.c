/*
 * Open files of a fake guest, for tests of the layer above: what agent/host/open_file.h declares.
 * Each file that is opened begins as "12345" ("/nope" is not there) and is its own; they are
 * numbered from 1 in this process. A write of "full" fails for a full disk, also when closing.
 */
#include "agent/host/open_file.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

#define FILES_MAX 64

static struct {
	struct pv_bytes content;
	size_t at;
	bool full;
} files[FILES_MAX];
static int64_t last;

static int fault(struct pv_err *err, int code)
{
	return pv_err_set(err, PV_ERR_GUEST, code, "%s", strerror(code));
}

int pv_agent_open_file(const struct pv_principal *by, const char *path,
    const struct pv_agent_open *how, int64_t *handle, uint64_t *boot, struct pv_err *err)
{
	if (strcmp(path, "/nope") == 0 || last + 1 == FILES_MAX) {
		fault(err, ENOENT);
		return pv_err_prefix(err, "open `%s`", path);
	}
	*handle = ++last;
	*boot = 1;
	return pv_bytes_append(&files[last].content, "12345", 5);
}

int pv_agent_handle_read(const struct pv_principal *by, int64_t handle, int64_t size,
    struct pv_bytes *out, struct pv_err *err)
{
	size_t left = files[handle].content.len - files[handle].at;
	size_t len = size < 0 || (uint64_t)size > left ? left : (size_t)size;
	size_t from = files[handle].at;
	files[handle].at += len;
	return pv_bytes_append(out, files[handle].content.data + from, len);
}

int pv_agent_handle_write(
    const struct pv_principal *by, int64_t handle, const void *data, size_t len, struct pv_err *err)
{
	if (len == 4 && memcmp(data, "full", 4) == 0) {
		files[handle].full = true;
		return fault(err, ENOSPC);
	}
	files[handle].content.len = files[handle].at;
	files[handle].at += len;
	return pv_bytes_append(&files[handle].content, data, len);
}

int pv_agent_handle_seek(const struct pv_principal *by, int64_t handle, int64_t offset,
    enum pv_agent_whence whence, int64_t *at, struct pv_err *err)
{
	int64_t base = whence == PV_AGENT_SEEK_SET   ? 0
		       : whence == PV_AGENT_SEEK_CUR ? (int64_t)files[handle].at
						     : (int64_t)files[handle].content.len;
	*at = base + offset;
	if (*at < 0 || *at > (int64_t)files[handle].content.len)
		return fault(err, EINVAL);
	files[handle].at = (size_t)*at;
	return 0;
}

int pv_agent_handle_close(const struct pv_principal *by, int64_t handle, struct pv_err *err)
{
	pv_bytes_finish(&files[handle].content);
	return files[handle].full ? fault(err, ENOSPC) : 0;
}
