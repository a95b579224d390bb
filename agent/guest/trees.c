/*
 * `get_tree`, `put_tree`: trees of files as agent/proto/tree.h has them, sent and built as work on
 * a pool thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/guest/work.h"
#include "agent/proto/tree.h"

/* An error with the name below the root that it is about. */
static int fail(struct pv_work *work, int status, const char *where)
{
	if (where[0] != '\0')
		snprintf(work->message, sizeof(work->message), "%s: %s", where,
		    status == -EBADMSG ? "the tree is damaged" : strerror(-status));
	return status;
}

static int send_bytes(void *ctx, const void *data, size_t len)
{
	return pv_work_send_granted(ctx, data, len);
}

static int get_tree(struct pv_work *work)
{
	struct pv_tree_send send = {
	    .root = work->request.file.path,
	    .is_directory = work->request.file.directory,
	    .write = send_bytes,
	    .ctx = work,
	};
	pv_work_begun(work);
	int status = pv_tree_send(&send);
	return status < 0 ? fail(work, status, send.where) : 0;
}

static int put_tree(struct pv_work *work)
{
	struct pv_tree_build *build =
	    pv_tree_build_create(work->request.file.path, work->request.file.directory, 07777);
	struct pv_bytes piece = {0};
	int status = build ? 1 : -ENOMEM;
	while (status > 0 && (status = pv_work_take(work, &piece)) > 0) {
		int built = pv_tree_build_take(build, piece.data, piece.len);
		if (built < 0)
			status = built;
		else
			pv_work_credit(work, piece.len);
	}
	pv_bytes_finish(&piece);
	if (status == 0)
		status = pv_tree_build_end(build);
	if (status < 0 && build)
		status = fail(work, status, pv_tree_build_where(build));
	pv_tree_build_destroy(build);
	return status;
}

void pv_trees_start(struct pv_calls *calls, struct pv_request *request)
{
	struct pv_work_task task = {.run = get_tree};
	if (request->op == PV_REQUEST_PUT_TREE)
		task = (struct pv_work_task){
		    .run = put_tree,
		    .takes_data = true,
		    .data = request->file.data,
		    .more = request->file.more,
		};
	pv_work_start(calls, request, &task);
}
