/*
 * Names in a fake guest, for tests of the layer above: what agent/host/path.h declares. "/full" is
 * a directory with a file `a`, a directory `d` and a name of odd bytes; "/nope" is not there; any
 * other directory is empty and anything else works. A pushed file can be read; of trees only the
 * errors are there.
 */
#include "agent/host/path.h"
#include "agent/host/tree.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"

static int fault(struct pv_err *err, const char *op, const char *path, int code)
{
	return pv_err_set(err, PV_ERR_GUEST, code, "%s `%.400s`: %s", op, path, strerror(code));
}

static int look(struct pv_err *err, const char *op, const char *path)
{
	return strcmp(path, "/nope") == 0 ? fault(err, op, path, ENOENT) : 0;
}

int pv_agent_list(
    const struct pv_principal *by, const char *path, struct pv_bytes *out, struct pv_err *err)
{
	static const char entries[] = "\0a\0\1d\0\2odd\xff\n";
	if (strcmp(path, "/full") != 0)
		return look(err, "list", path);
	return pv_bytes_append(out, entries, sizeof(entries));
}

bool pv_agent_list_next(
    const struct pv_bytes *list, size_t *at, const char **name, enum pv_agent_entry_type *type)
{
	if (*at >= list->len)
		return false;
	*type = (enum pv_agent_entry_type)list->data[*at];
	*name = (const char *)list->data + *at + 1;
	*at += strlen(*name) + 2;
	return true;
}

int pv_agent_mkdir(const struct pv_principal *by, const char *path, bool parents, unsigned perm,
    struct pv_err *err)
{
	if (strcmp(path, "/full") == 0 && !parents)
		return fault(err, "mkdir", path, EEXIST);
	return perm == 0 ? fault(err, "mkdir", path, EPERM) : look(err, "mkdir", path);
}

int pv_agent_unlink(const struct pv_principal *by, const char *path, struct pv_err *err)
{
	if (strcmp(path, "/full") == 0)
		return fault(err, "unlink", path, ENOTEMPTY);
	return look(err, "unlink", path);
}

int pv_agent_rename(
    const struct pv_principal *by, const char *from, const char *to, struct pv_err *err)
{
	return look(err, "rename", from);
}

/* --- trees --- */

int pv_agent_push(const struct pv_principal *by, const char *host, const char *guest,
    bool is_directory, struct pv_err *err)
{
	struct pv_bytes content = {0};
	struct pv_err fault_err = PV_ERR_INIT;
	struct stat info;
	if (stat(host, &info) < 0 || is_directory != S_ISDIR(info.st_mode)) {
		int code = is_directory ? ENOTDIR : ENOENT;
		return pv_err_set(
		    err, PV_ERR_INPUT, code, "read `%s` failed: %s", host, strerror(code));
	}
	if (is_directory)
		return look(err, "push", guest);
	int status = pv_fd_slurp("file", host, 1 << 20, &content, &fault_err);
	if (status == 0)
		status = pv_agent_write_file(
		    by, guest, content.data, content.len, info.st_mode & 07777, err);
	pv_bytes_finish(&content);
	return status;
}

int pv_agent_pull(const struct pv_principal *by, const char *guest, const char *host,
    bool is_directory, struct pv_err *err)
{
	if (strcmp(guest, "/nope") == 0)
		return fault(err, "pull", guest, ENOENT);
	return pv_fd_replace_file(host, is_directory ? "dir" : "file", 4 - is_directory, 0644, err);
}
