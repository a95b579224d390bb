/*
 * Messages: what one end writes the other reads, and the decoder refuses what is out of bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto/protocol.h"
#include "agent/proto/reply.h"
#include "agent/proto/request.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/pack.h"

/* Writes `request`, reads it back into `out`; `bytes` holds the frame meanwhile. */
static void pass(const struct pv_request *request, struct pv_bytes *bytes, struct pv_request *out)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_request_encode(request, bytes, &err), 0);
	assert_int_equal(pv_be32(bytes->data), bytes->len - PV_FRAME_HEADER);
	assert_int_equal(pv_request_decode(out, bytes->data + PV_FRAME_HEADER,
			     bytes->len - PV_FRAME_HEADER, &err),
	    0);
	assert_int_equal(out->id, request->id);
	assert_int_equal(out->worker, request->worker);
	assert_int_equal(out->after, request->after);
	assert_int_equal(out->op, request->op);
}

static void exec_arguments_survive(void **state)
{
	const char *argv[] = {"prog", "", "a b"};
	const char *env[] = {"A=1"};
	struct pv_request request = {
	    .id = UINT64_MAX,
	    .op = PV_REQUEST_EXEC,
	    .exec = {.argv = {argv, 3},
		     .env = {env, 1},
		     .env_clear = true,
		     .cwd = "/d",
		     .timeout_ns = 5,
		     .data = {.data = "in\0put", .len = 6},
		     .more = true},
	};
	struct pv_bytes bytes = {0};
	struct pv_request out;
	pass(&request, &bytes, &out);
	assert_int_equal(out.exec.argv.count, 3);
	for (int i = 0; i < 3; i++)
		assert_string_equal(out.exec.argv.at[i], argv[i]);
	assert_null(out.exec.argv.at[3]);
	assert_string_equal(out.exec.env.at[0], "A=1");
	assert_null(out.exec.env.at[1]);
	assert_true(out.exec.env_clear);
	assert_string_equal(out.exec.cwd, "/d");
	assert_int_equal(out.exec.timeout_ns, 5);
	assert_int_equal(out.exec.data.len, 6);
	assert_memory_equal(out.exec.data.data, "in\0put", 6);
	assert_true(out.exec.more);
	pv_request_finish(&out);
	pv_bytes_finish(&bytes);
}

static void exec_without_options_survives(void **state)
{
	const char *argv[] = {"prog"};
	struct pv_request request = {
	    .id = 1,
	    .op = PV_REQUEST_EXEC,
	    .exec = {.argv = {argv, 1}, .timeout_ns = PV_CLOCK_NEVER},
	};
	struct pv_bytes bytes = {0};
	struct pv_request out;
	pass(&request, &bytes, &out);
	assert_int_equal(out.exec.env.count, 0);
	assert_null(out.exec.env.at[0]);
	assert_null(out.exec.cwd);
	assert_int_equal(out.exec.timeout_ns, PV_CLOCK_NEVER);
	assert_int_equal(out.exec.data.len, 0);
	pv_request_finish(&out);
	pv_bytes_finish(&bytes);
}

static bool is_for_the_kernel(int op)
{
	return op == PV_REQUEST_SYSCALL || op == PV_REQUEST_SYSCALLS || op == PV_REQUEST_READ_MEM ||
	       op == PV_REQUEST_WRITE_MEM;
}

static void system_calls_survive(void **state)
{
	const int64_t args[] = {INT64_MIN, -1, 0, INT64_MAX}, lens[] = {4, 0}, ptrs[] = {5, 0};
	const int64_t nested[] = {0, 1, 8};
	struct pv_request out, request = {
				   .id = 1,
				   .op = PV_REQUEST_SYSCALL,
				   .syscall = {.nr = -7,
					       .args = {args, 4},
					       .lens = {lens, 2},
					       .ptrs = {ptrs, 2},
					       .nested = {nested, 3},
					       .handle = 3,
					       .aside = true,
					       .data = {.data = "a\0b", .len = 3},
					       .more = true},
	       };
	struct pv_bytes bytes = {0};
	pass(&request, &bytes, &out);
	assert_int_equal(out.syscall.nr, -7);
	assert_int_equal(out.syscall.args.count, 4);
	assert_memory_equal(out.syscall.args.at, args, sizeof(args));
	assert_memory_equal(out.syscall.lens.at, lens, sizeof(lens));
	assert_memory_equal(out.syscall.ptrs.at, ptrs, sizeof(ptrs));
	assert_memory_equal(out.syscall.nested.at, nested, sizeof(nested));
	assert_int_equal(out.syscall.handle, 3);
	assert_true(out.syscall.aside && out.syscall.more);
	assert_int_equal(out.syscall.data.len, 3);
	pv_request_finish(&out);
	pv_bytes_finish(&bytes);
}

static void rows_and_memory_survive(void **state)
{
	const int64_t words[] = {39, 0, 0, 0, 0, 0, -1};
	struct pv_request out;
	struct pv_request row = {
	    .id = 1, .after = UINT64_MAX, .op = PV_REQUEST_SYSCALLS, .syscalls = {words, 7}
	   };
	struct pv_bytes bytes = {0};
	pass(&row, &bytes, &out);
	assert_int_equal(out.syscalls.count, 7);
	assert_memory_equal(out.syscalls.at, words, sizeof(words));
	pv_request_finish(&out);
	for (int op = PV_REQUEST_READ_MEM; op <= PV_REQUEST_WRITE_MEM; op++) {
		struct pv_request request = {
		    .id = 1,
		    .op = op,
		    .memory_at = {.addr = -4096, .len = PV_PROTOCOL_MEMORY_MAX, .more = true},
		};
		bytes.len = 0;
		pass(&request, &bytes, &out);
		assert_int_equal(out.memory_at.addr, -4096);
		assert_int_equal(out.memory_at.len, PV_PROTOCOL_MEMORY_MAX);
		assert_int_equal(out.memory_at.more, op == PV_REQUEST_WRITE_MEM);
		pv_request_finish(&out);
	}
	pv_bytes_finish(&bytes);
}

static bool is_for_a_handle(int op)
{
	return op >= PV_REQUEST_OPEN && op <= PV_REQUEST_CLOSE;
}

static void operations_on_handles_survive(void **state)
{
	for (int op = PV_REQUEST_OPEN; is_for_a_handle(op); op++) {
		struct pv_request request = {
		    .id = 7,
		    .op = op,
		    .handle = {.path = "/p",
			       .flags = PV_PROTOCOL_OPEN_ALL,
			       .mode = 07777,
			       .handle = INT64_MAX,
			       .size = -1,
			       .offset = INT64_MIN,
			       .whence = 2,
			       .data = {.data = "d", .len = 1},
			       .more = true},
		};
		struct pv_bytes bytes = {0};
		struct pv_request out;
		pass(&request, &bytes, &out);
		if (op == PV_REQUEST_OPEN) {
			assert_string_equal(out.handle.path, "/p");
			assert_int_equal(out.handle.flags, PV_PROTOCOL_OPEN_ALL);
			assert_int_equal(out.handle.mode, 07777);
		} else {
			assert_int_equal(out.handle.handle, INT64_MAX);
		}
		if (op == PV_REQUEST_READ)
			assert_int_equal(out.handle.size, -1);
		if (op == PV_REQUEST_WRITE) {
			assert_int_equal(out.handle.data.len, 1);
			assert_true(out.handle.more);
		}
		if (op == PV_REQUEST_SEEK) {
			assert_true(out.handle.offset == INT64_MIN);
			assert_int_equal(out.handle.whence, 2);
		}
		pv_request_finish(&out);
		pv_bytes_finish(&bytes);
	}
}

static void tails_survive(void **state)
{
	for (int op = PV_REQUEST_TAIL; op <= PV_REQUEST_TAIL_HANDLE; op++) {
		struct pv_request request = {
		    .id = 7,
		    .op = op,
		    .tail = {.path = "/p", .from = 1, .offset = INT64_MIN, .handle = 5},
		};
		struct pv_bytes bytes = {0};
		struct pv_request out;
		pass(&request, &bytes, &out);
		if (op == PV_REQUEST_TAIL_HANDLE) {
			assert_int_equal(out.tail.handle, 5);
		} else {
			assert_string_equal(out.tail.path, "/p");
			assert_int_equal(out.tail.from, 1);
			assert_true(out.tail.offset == INT64_MIN);
		}
		pv_request_finish(&out);
		pv_bytes_finish(&bytes);
	}
}

static bool is_of_processes(int op)
{
	return op >= PV_REQUEST_PROCESS_START && op <= PV_REQUEST_WORKER_JOIN;
}

static void operations_on_processes_and_workers_survive(void **state)
{
	const char *const argv[] = {"cat"};
	struct pv_bytes bytes = {0};
	struct pv_request out;
	struct pv_request start = {
	    .id = 1,
	    .op = PV_REQUEST_PROCESS_START,
	    .exec = {.argv = {argv, 1}, .data = {.data = "in", .len = 2}, .more = true}
	       };
	pass(&start, &bytes, &out);
	assert_string_equal(out.exec.argv.at[0], "cat");
	assert_true(out.exec.more && out.exec.data.len == 2);
	pv_request_finish(&out);
	for (int op = PV_REQUEST_PROCESS_WAIT; op <= PV_REQUEST_PROCESS_STREAM; op++) {
		struct pv_request request = {.id = 1, .worker = 3, .op = op};
		request.process = (struct pv_request_process){
		    .handle = INT64_MAX,
		    .timeout_ns = 5,
		    .signal = 64,
		    .from_err = true,
		    .data = {.data = "d", .len = 1},
		    .more = true
		};
		bytes.len = 0;
		pass(&request, &bytes, &out);
		assert_true(out.worker == 3 && out.process.handle == INT64_MAX);
		assert_int_equal(out.process.timeout_ns, op == PV_REQUEST_PROCESS_WAIT ? 5 : 0);
		assert_int_equal(out.process.signal, op == PV_REQUEST_PROCESS_SIGNAL ? 64 : 0);
		assert_int_equal(out.process.from_err, op == PV_REQUEST_PROCESS_STREAM);
		assert_int_equal(out.process.data.len, op == PV_REQUEST_PROCESS_WRITE);
		pv_request_finish(&out);
	}
	for (int op = PV_REQUEST_WORKER_START; op <= PV_REQUEST_WORKER_JOIN; op++) {
		struct pv_request request = {.id = 1, .worker = 3, .op = op};
		request.of_worker = (struct pv_request_worker){.signal = 1, .force = true};
		bytes.len = 0;
		pass(&request, &bytes, &out);
		assert_int_equal(out.of_worker.signal, op == PV_REQUEST_WORKER_SIGNAL);
		assert_int_equal(out.of_worker.force, op == PV_REQUEST_WORKER_JOIN);
		pv_request_finish(&out);
	}
	pv_bytes_finish(&bytes);
}

static void numbers_of_processes_are_within_their_bounds(void **state)
{
	const struct pv_request_process bad[] = {
	    {.handle = 0,  .signal = 9 },
		{.handle = -1, .signal = 9 },
	     {.handle = 1,  .signal = 65},
	    {.handle = 1,  .signal = -9}
	       };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pv_err err = PV_ERR_INIT;
		struct pv_bytes bytes = {0};
		struct pv_request out;
		struct pv_request request = {
		    .id = 1, .op = PV_REQUEST_PROCESS_SIGNAL, .process = bad[i]};
		assert_int_equal(pv_request_encode(&request, &bytes, &err), 0);
		assert_int_equal(
		    pv_request_decode(&out, bytes.data + 4, bytes.len - 4, &err), -EINVAL);
		assert_non_null(strstr(err.text, "must be a number within its bounds"));
		pv_request_finish(&out);
		pv_bytes_finish(&bytes);
	}
}

static void every_operation_survives(void **state)
{
	for (int op = 0; op < PV_REQUEST_OP_COUNT; op++) {
		if (op == PV_REQUEST_EXEC || is_for_the_kernel(op) || is_for_a_handle(op) ||
		    is_of_processes(op) || op == PV_REQUEST_TAIL || op == PV_REQUEST_TAIL_HANDLE)
			continue;
		struct pv_request request = {.id = 7, .worker = (uint64_t)op, .op = op};
		if (op == PV_REQUEST_HELLO)
			request.hello.version = 9;
		else if (op == PV_REQUEST_CHUNK)
			request.chunk = (struct pv_span){.data = "chunk", .len = 5};
		else if (op == PV_REQUEST_SET_WALL)
			request.wall_ns = INT64_MAX;
		else if (op == PV_REQUEST_RESEED)
			request.entropy = (struct pv_span){.data = "dice", .len = 4};
		else if (op == PV_REQUEST_GRANT)
			request.grant = INT64_MAX;
		else
			request.file = (struct pv_request_file){
			    .path = "/p",
			    .to = "/q",
			    .parents = true,
			    .follow = true,
			    .mode = 07777,
			    .data = {.data = "d", .len = 1},
			    .more = true
			};
		struct pv_bytes bytes = {0};
		struct pv_request out;
		pass(&request, &bytes, &out);
		if (op == PV_REQUEST_HELLO)
			assert_int_equal(out.hello.version, 9);
		if (op == PV_REQUEST_CHUNK)
			assert_memory_equal(out.chunk.data, "chunk", 5);
		if (op == PV_REQUEST_RESEED) {
			assert_int_equal(out.entropy.len, 4);
			assert_memory_equal(out.entropy.data, "dice", 4);
		}
		if (op == PV_REQUEST_SET_WALL)
			assert_int_equal(out.wall_ns, INT64_MAX);
		if (op == PV_REQUEST_MKDIR)
			assert_true(out.file.parents);
		if (op == PV_REQUEST_RENAME)
			assert_string_equal(out.file.to, "/q");
		if (op == PV_REQUEST_STAT)
			assert_true(out.file.follow);
		if (op == PV_REQUEST_READ_FILE || op == PV_REQUEST_WRITE_FILE)
			assert_string_equal(out.file.path, "/p");
		if (op == PV_REQUEST_WRITE_FILE)
			assert_int_equal(out.file.mode, 07777);
		pv_request_finish(&out);
		pv_bytes_finish(&bytes);
	}
}

static void arguments_over_the_limit_are_refused(void **state)
{
	char *large = malloc(PV_PROTOCOL_FRAME_MAX + 1);
	assert_non_null(large);
	memset(large, 'x', PV_PROTOCOL_FRAME_MAX);
	large[PV_PROTOCOL_FRAME_MAX] = '\0';
	const char *argv[] = {large};
	struct pv_request request = {.id = 1, .op = PV_REQUEST_EXEC, .exec = {.argv = {argv, 1}}};
	struct pv_bytes bytes = {0};
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_bytes_append(&bytes, "kept", 4), 0);
	assert_int_equal(pv_request_encode(&request, &bytes, &err), -E2BIG);
	assert_int_equal(bytes.len, 4);
	pv_bytes_finish(&bytes);
	free(large);
}

/* Decodes a hand-made map of `count` pairs of which `rest` are in `text`, behind id and op. */
static int decode(const char *op, const char *pairs, size_t len, uint32_t count, uint64_t *id)
{
	struct pv_bytes bytes = {0};
	struct pv_pack pack = {.out = &bytes};
	struct pv_request out;
	struct pv_err err = PV_ERR_INIT;
	pv_pack_map(&pack, count + 2);
	pv_pack_str(&pack, "id");
	pv_pack_uint(&pack, 5);
	pv_pack_str(&pack, "op");
	pv_pack_str(&pack, op);
	pv_bytes_append(&bytes, pairs, len);
	int status = pv_request_decode(&out, bytes.data, bytes.len, &err);
	*id = out.id;
	pv_request_finish(&out);
	pv_bytes_finish(&bytes);
	return status;
}

#define DECODE(op, pairs, count) decode(op, pairs, sizeof(pairs) - 1, count, &id)

static void wrong_arguments_are_refused_with_their_number(void **state)
{
	uint64_t id = 0;
	assert_int_equal(DECODE("format_disk", "", 0), -ENOSYS);
	assert_int_equal(id, 5);
	assert_int_equal(DECODE("stat", "", 0), -EINVAL);
	assert_int_equal(id, 5);
	assert_int_equal(DECODE("stat", "\xa4path\x07", 1), -EINVAL);
	assert_int_equal(DECODE("read_file",
			     "\xa4path\xa3"
			     "a\0b",
			     1),
	    -EINVAL);
	assert_int_equal(DECODE("read_file", "\xa4path\xa1/", 1), 0);
	assert_int_equal(DECODE("stat",
			     "\xa4path\xa1/\xa6"
			     "follow\x01",
			     2),
	    -EINVAL);
	assert_int_equal(DECODE("exec", "", 0), -EINVAL);
	assert_int_equal(DECODE("exec",
			     "\xa4"
			     "argv\x90\xa3"
			     "env\x90",
			     2),
	    -EINVAL);
	assert_int_equal(DECODE("exec",
			     "\xa4"
			     "argv\x91\xc0\xa3"
			     "env\x90",
			     2),
	    -EINVAL);
	assert_int_equal(DECODE("hello", "", 0), -EINVAL);
	assert_int_equal(DECODE("chunk", "", 0), -EINVAL);
	assert_int_equal(DECODE("finish", "", 0), 0);
	assert_int_equal(DECODE("reseed", "", 0), -EINVAL);
	assert_int_equal(DECODE("set_wall", "", 0), -EINVAL);
	assert_int_equal(DECODE("set_wall", "\xa7wall_ns\xff", 1), -EINVAL);
	assert_int_equal(DECODE("set_wall", "\xa7wall_ns\x00", 1), 0);
	char entropy[8 + PV_PROTOCOL_ENTROPY_MAX + 1] = "\xa4"
							"data\xc5\x01";
	assert_int_equal(decode("reseed", entropy, 8 + PV_PROTOCOL_ENTROPY_MAX, 1, &id), 0);
	entropy[7] = 1;
	assert_int_equal(decode("reseed", entropy, sizeof(entropy), 1, &id), -EINVAL);
}

static void a_request_without_number_is_no_request(void **state)
{
	static const char *const frames[] = {
	    "\xc0", "\x80", "\x81\xa2id\x00", "\x81\xa2id\xff", "\x93"};
	for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct pv_request out;
		struct pv_err err = PV_ERR_INIT;
		size_t len = i == 2 ? 5 : strlen(frames[i]);
		assert_int_equal(pv_request_decode(&out, frames[i], len, &err), -EBADMSG);
		pv_request_finish(&out);
	}
}

static void answers_survive(void **state)
{
	struct pv_bytes bytes = {0};
	struct pv_reply reply;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(
	    pv_reply_put_refused(&bytes, 3, PV_REPLY_UNKNOWN_HANDLE, "no such handle"), 0);
	assert_int_equal(pv_reply_decode(&reply, bytes.data + 4, bytes.len - 4, &err), 0);
	assert_int_equal(reply.id, 3);
	assert_int_equal(reply.kind, PV_REPLY_REFUSED);
	assert_int_equal(reply.reason, PV_REPLY_UNKNOWN_HANDLE);
	assert_memory_equal(reply.message.data, "no such handle", 14);
	pv_reply_finish(&reply);
	bytes.len = 0;
	for (int entry = 0; entry < PV_REPLY_ENTRY_COUNT; entry++) {
		struct pv_reply_stat in = {
		    .size = UINT64_MAX, .mtime_ns = INT64_MIN, .perm = 07777, .entry = entry};
		struct pv_reply_stat out;
		assert_int_equal(pv_reply_put_stat(&bytes, 1, &in), 0);
		assert_int_equal(pv_reply_decode(&reply, bytes.data + 4, bytes.len - 4, &err), 0);
		assert_true(pv_reply_get_stat(&reply, &out));
		assert_true(out.size == in.size && out.mtime_ns == in.mtime_ns &&
			    out.perm == in.perm && out.entry == in.entry);
		pv_reply_finish(&reply);
		bytes.len = 0;
	}
	pv_bytes_finish(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(exec_arguments_survive),
	    cmocka_unit_test(exec_without_options_survives),
	    cmocka_unit_test(tails_survive),
	    cmocka_unit_test(operations_on_processes_and_workers_survive),
	    cmocka_unit_test(numbers_of_processes_are_within_their_bounds),
	    cmocka_unit_test(every_operation_survives),
	    cmocka_unit_test(operations_on_handles_survive),
	    cmocka_unit_test(system_calls_survive),
	    cmocka_unit_test(rows_and_memory_survive),
	    cmocka_unit_test(arguments_over_the_limit_are_refused),
	    cmocka_unit_test(wrong_arguments_are_refused_with_their_number),
	    cmocka_unit_test(a_request_without_number_is_no_request),
	    cmocka_unit_test(answers_survive),
	};
	return cmocka_run_group_tests_name("agent_proto", tests, NULL, NULL);
}
