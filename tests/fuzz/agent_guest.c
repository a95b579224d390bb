/*
 * What the guest's agent reads: the payload of one frame into the request decoder, nothing is
 * executed. Whatever is accepted must be within the limits and be the same again after a second
 * trip over the wire.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto/protocol.h"
#include "agent/proto/request.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
	if (!condition)
		abort();
}

static void check_exec(const struct pv_request_exec *exec)
{
	require(exec->argv.count >= 1 && exec->argv.count <= PV_PROTOCOL_STRINGS_MAX);
	require(exec->argv.at[exec->argv.count] == NULL && exec->env.at[exec->env.count] == NULL);
	for (size_t i = 0; i < exec->argv.count; i++)
		require(strlen(exec->argv.at[i]) < PV_PROTOCOL_FRAME_MAX);
	for (size_t i = 0; i < exec->env.count; i++)
		require(strlen(exec->env.at[i]) < PV_PROTOCOL_FRAME_MAX);
	require(exec->timeout_ns >= 0 && exec->data.len <= PV_PROTOCOL_CHUNK_MAX);
}

static void check_syscall(const struct pv_request_syscall *call)
{
	const struct pv_request_numbers *lists[] = {
	    &call->args, &call->ptrs, &call->lens, &call->nested};
	for (size_t i = 0; i < 4; i++) {
		require(lists[i]->count <= (i < 2 ? 6 : PV_PROTOCOL_STRINGS_MAX));
		for (size_t at = 0; at < lists[i]->count; at++)
			require(lists[i]->at[at] <= INT64_MAX);
	}
	require(call->data.len <= PV_PROTOCOL_CHUNK_MAX);
}

static void check_again(const struct pv_request *request)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	struct pv_request again;
	if (pv_request_encode(request, &bytes, &err) == 0) {
		require(pv_request_decode(&again, bytes.data + PV_FRAME_HEADER,
			    bytes.len - PV_FRAME_HEADER, &err) == 0);
		require(again.id == request->id && again.op == request->op);
		if (request->op == PV_REQUEST_EXEC)
			require(again.exec.argv.count == request->exec.argv.count &&
				strcmp(again.exec.argv.at[0], request->exec.argv.at[0]) == 0);
		pv_request_finish(&again);
	}
	pv_bytes_finish(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_request request;
	int status = pv_request_decode(&request, data, size, &err);
	require(status == 0 || err.text[0] != '\0');
	require(status == -EBADMSG || status == -ENOMEM || request.id != 0);
	if (status == 0 && request.op == PV_REQUEST_EXEC)
		check_exec(&request.exec);
	if (status == 0 && request.op == PV_REQUEST_SYSCALL)
		check_syscall(&request.syscall);
	if (status == 0)
		check_again(&request);
	pv_request_finish(&request);
	return 0;
}
