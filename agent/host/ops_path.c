/*
 * Names in the guest. Called on the script thread without the loop lock. A list comes as data in
 * pieces of whole entries, each a byte that says what it is, the name, and a NUL; all of it is
 * checked here before anybody sees it.
 */
#include <errno.h>
#include <string.h>

#include "agent/host/path.h"
#include "agent/host/transfer.h"

/* Asks and waits; `sink` is for data, or NULL. */
static int ask(const struct pv_principal *by, const struct pv_request *request,
    struct pv_bytes *sink, struct pv_err *err)
{
	struct pv_agent_transfer transfer = {.request = *request, .sink = sink};
	return pv_agent_transfer_run(by, &transfer, err);
}

/* The same, with the operation and the path before an error. */
static int ask_path(const struct pv_principal *by, const struct pv_request *request,
    struct pv_bytes *sink, struct pv_err *err)
{
	int status = ask(by, request, sink, err);
	if (status < 0)
		pv_err_prefix(err, "%s `%.400s`", pv_request_name(request->op), request->file.path);
	return status;
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

/* Whole entries with proper names? */
static bool is_list(const uint8_t *at, size_t len)
{
	while (len > 0) {
		const uint8_t *name = at + 1;
		const uint8_t *end = memchr(name, '\0', len - 1);
		if (at[0] >= PV_REPLY_ENTRY_COUNT || !end || end == name ||
		    memchr(name, '/', (size_t)(end - name)))
			return false;
		len -= (size_t)(end + 1 - at);
		at = end + 1;
	}
	return true;
}

bool pv_agent_list_is_whole(const struct pv_bytes *list)
{
	return is_list(list->data, list->len);
}

int pv_agent_list(
    const struct pv_principal *by, const char *path, struct pv_bytes *out, struct pv_err *err)
{
	struct pv_request request = {.op = PV_REQUEST_LIST, .file = {.path = path}};
	size_t before = out->len;
	int status = ask_path(by, &request, out, err);
	if (status == 0 && !is_list(out->data + before, out->len - before))
		status = pv_err_set(err, PV_ERR_GUEST, EPROTO,
		    "list `%.400s`: the guest's agent sent no list of names", path);
	if (status < 0)
		out->len = before;
	return status;
}

int pv_agent_mkdir(const struct pv_principal *by, const char *path, bool parents, unsigned perm,
    struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_MKDIR,
	    .file = {.path = path, .parents = parents, .mode = perm & 07777},
	};
	return ask_path(by, &request, NULL, err);
}

int pv_agent_unlink(const struct pv_principal *by, const char *path, struct pv_err *err)
{
	struct pv_request request = {.op = PV_REQUEST_UNLINK, .file = {.path = path}};
	return ask_path(by, &request, NULL, err);
}

int pv_agent_rename(
    const struct pv_principal *by, const char *from, const char *to, struct pv_err *err)
{
	struct pv_request request = {
	    .op = PV_REQUEST_RENAME, .file = {.path = from, .to = to}
	     };
	int status = ask(by, &request, NULL, err);
	if (status < 0)
		pv_err_prefix(err, "rename `%.300s` to `%.300s`", from, to);
	return status;
}
