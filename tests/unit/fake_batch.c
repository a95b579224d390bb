/*
 * agent/host/batch.h over the fake guests of tests/unit/fake_lab.h: each item is done by the
 * operation of its kind.
 */
#include "agent/host/batch.h"

#include <stdlib.h>
#include <string.h>

#include "agent/host/path.h"
#include "base/err.h"

static int do_item(const struct pv_principal *by, struct pv_agent_item *item, struct pv_err *err)
{
	struct pv_agent_syscall call = {
	    .nr = item->words[0], .args = &item->words[1], .arg_count = 6};
	switch (item->kind) {
	case PV_AGENT_ITEM_EXEC: return pv_agent_exec(by, &item->exec, &item->exec_result, err);
	case PV_AGENT_ITEM_READ_FILE: return pv_agent_read_file(by, item->path, &item->out, err);
	case PV_AGENT_ITEM_WRITE_FILE:
		return pv_agent_write_file(by, item->path, item->data, item->len, 0644, err);
	case PV_AGENT_ITEM_STAT: return pv_agent_stat(by, item->path, true, &item->stat, err);
	case PV_AGENT_ITEM_LIST: return pv_agent_list(by, item->path, &item->out, err);
	case PV_AGENT_ITEM_MKDIR:
		return pv_agent_mkdir(by, item->path, item->parents, item->perm, err);
	case PV_AGENT_ITEM_UNLINK: return pv_agent_unlink(by, item->path, err);
	case PV_AGENT_ITEM_RENAME: return pv_agent_rename(by, item->path, item->to, err);
	default: return pv_agent_syscall(by, &call, &item->syscall_result, err);
	}
}

int pv_agent_batch(
    const struct pv_principal *by, struct pv_agent_item *items, size_t count, struct pv_err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct pv_err failure = PV_ERR_INIT;
		if (do_item(by, &items[i], &failure) < 0)
			items[i].error = strdup(failure.text);
	}
	return 0;
}

void pv_agent_item_release(struct pv_agent_item *item)
{
	free(item->error);
	item->error = NULL;
	pv_bytes_finish(&item->exec_result.out);
	pv_bytes_finish(&item->exec_result.err);
	pv_bytes_finish(&item->out);
}
