/*
 * Names in a fake guest, for tests of the layer above: what agent/host/path.h declares. "/full" is
 * a directory with a file `a`, a directory `d` and a name of odd bytes; "/nope" is not there; any
 * other directory is empty and anything else works.
 */
#include "agent/host/path.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

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
