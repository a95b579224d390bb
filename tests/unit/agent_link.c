/*
 * The byte link: whatever is cut wherever, each frame arrives once and in order; what is kept is
 * bounded by acknowledgements; and an end that lies about what it has is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto/link.h"
#include "base/err.h"

#define FRAME_MAX (1u << 20)

/* One end: it sends frames that say their number, of various lengths, and checks those that come.
 */
struct end {
	struct pv_link link;
	unsigned put; /* frames that were queued */
	unsigned got;
	unsigned salt;
};

/* Length of the frame with that number behind its number. */
static size_t length_of(const struct end *end, unsigned number, size_t scale)
{
	return (number * 37u + end->salt) % 61u * scale;
}

static void put(struct end *end, size_t scale)
{
	uint8_t byte = (uint8_t)(end->put * 7 + end->salt);
	int64_t start = pv_frame_begin(&end->link.out);
	assert_true(start >= 0);
	assert_int_equal(pv_bytes_append(&end->link.out, &end->put, sizeof(end->put)), 0);
	for (size_t i = length_of(end, end->put, scale); i > 0; i--)
		assert_int_equal(pv_bytes_append(&end->link.out, &byte, 1), 0);
	assert_int_equal(pv_frame_end(&end->link.out, start), 0);
	end->put++;
}

static void check(struct end *end, const struct end *from, struct pv_span payload, size_t scale)
{
	unsigned number;
	assert_true(payload.len >= sizeof(number));
	memcpy(&number, payload.data, sizeof(number));
	assert_int_equal(number, end->got);
	assert_int_equal(payload.len, sizeof(number) + length_of(from, number, scale));
	const uint8_t *bytes = payload.data, byte = (uint8_t)(number * 7 + from->salt);
	for (size_t i = sizeof(number); i < payload.len; i++)
		assert_int_equal(bytes[i], byte);
	end->got++;
}

static void take_all(struct end *end, const struct end *from, size_t scale)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	int status;
	while ((status = pv_link_next(&end->link, &payload, &err)) > 0)
		check(end, from, payload, scale);
	if (status < 0)
		fail_msg("%s", err.text);
}

/* Two ends and what is left of the present connection. */
struct world {
	struct end host;
	struct end guest;
	uint64_t session; /* of the host's handshake */
	size_t budget;	  /* bytes that pass before the next cut */
	size_t lost;	  /* bytes of each piece that are given away before a cut */
	unsigned cuts;
};

/* A handshake of both, as host and agent have them. */
static void greet(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_link *host = &world->host.link, *guest = &world->guest.link;
	pv_link_cut(host);
	pv_link_cut(guest);
	const uint64_t count = guest->received;
	if (host->session != 0) {
		assert_int_equal(pv_link_resume(guest, host->received, &err), 0);
		assert_int_equal(pv_link_resume(host, count, &err), 0);
	} else {
		pv_link_begin(guest, world->session);
		pv_link_begin(host, world->session);
	}
	assert_int_equal(pv_link_open(guest, &err), 0);
	assert_int_equal(pv_link_open(host, &err), 0);
}

/* Moves one piece. Returns whether there was one. */
static bool move(struct world *world, struct end *from, struct end *to, size_t piece, size_t scale)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span rest = pv_link_unsent(&from->link);
	if (rest.len == 0)
		return false;
	const size_t len = rest.len < piece ? rest.len : piece;
	const size_t passing = len < world->budget ? len : world->budget;
	if (passing > 0)
		assert_int_equal(pv_link_feed(&to->link, rest.data, passing, &err), 0);
	pv_link_mark_sent(&from->link, len);
	world->budget -= passing;
	take_all(to, from, scale);
	if (world->budget == 0) {
		world->cuts++;
		world->budget = SIZE_MAX;
		greet(world);
	}
	return true;
}

static void begin(struct world *world)
{
	*world = (struct world){.session = 77, .budget = SIZE_MAX};
	pv_link_init(&world->host.link, FRAME_MAX);
	pv_link_init(&world->guest.link, FRAME_MAX);
	world->host.salt = 3;
	world->guest.salt = 11;
	greet(world);
}

static void finish(struct world *world)
{
	pv_link_finish(&world->host.link);
	pv_link_finish(&world->guest.link);
}

/* Both talk, `rounds` times `each` frames, in pieces, with a cut after `budget` bytes. Returns the
 * bytes that passed before. */
static size_t talk(
    struct world *world, unsigned rounds, unsigned each, size_t piece, size_t scale, size_t budget)
{
	const size_t big = (size_t)1 << 40;
	world->budget = budget == SIZE_MAX ? big : budget;
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < each; i++) {
			put(&world->host, scale);
			put(&world->guest, scale);
		}
		bool moved = true;
		while (moved) {
			moved = move(world, &world->host, &world->guest, piece, scale);
			moved |= move(world, &world->guest, &world->host, piece, scale);
		}
	}
	assert_int_equal(world->host.got, world->guest.put);
	assert_int_equal(world->guest.got, world->host.put);
	assert_true(pv_link_is_idle(&world->host.link));
	assert_true(pv_link_is_idle(&world->guest.link));
	return big - world->budget;
}

static void a_cut_at_any_byte_loses_and_repeats_nothing(void **state)
{
	struct world world;
	begin(&world);
	const size_t total = talk(&world, 3, 5, 40, 1, SIZE_MAX);
	finish(&world);
	assert_in_range(total, 1000, 4000);
	for (size_t at = 1; at < total; at++) {
		begin(&world);
		talk(&world, 3, 5, 40, 1, at);
		assert_int_equal(world.cuts, 1);
		/* And again in the same session. */
		talk(&world, 1, 3, 1000, 1, at % 200 + 1);
		finish(&world);
	}
}

static void what_is_kept_is_bounded_by_acknowledgements(void **state)
{
	struct world world;
	begin(&world);
	size_t most = 0;
	for (unsigned i = 0; i < 400; i++) {
		/* Each about 18 KiB; now and then the connection is cut. */
		talk(&world, 1, 1, 5000, 600, i % 10 == 9 ? 7000 + i : SIZE_MAX);
		most =
		    most < pv_link_kept(&world.guest.link) ? pv_link_kept(&world.guest.link) : most;
		assert_true(world.guest.link.out.capacity <= 1u << 20);
	}
	assert_true(world.cuts >= 30);
	assert_true(world.guest.link.received > 10 * PV_LINK_ACK_EVERY);
	assert_in_range(most, PV_LINK_ACK_EVERY / 2, PV_LINK_ACK_EVERY + (64u << 10));
	finish(&world);
}

static void who_acknowledges_nothing_is_noticed(void **state)
{
	static uint8_t data[64 << 10];
	struct pv_link link;
	pv_link_init(&link, FRAME_MAX);
	pv_link_begin(&link, 5);
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_link_open(&link, &err), 0);
	while (pv_link_sent(&link) < PV_LINK_KEPT_MAX) {
		assert_false(pv_link_is_overdue(&link));
		assert_int_equal(pv_bytes_append(&link.out, data, sizeof(data)), 0);
		pv_link_mark_sent(&link, sizeof(data));
	}
	assert_int_equal(pv_bytes_append(&link.out, data, 1), 0);
	assert_false(pv_link_is_overdue(&link));
	pv_link_mark_sent(&link, 1);
	assert_true(pv_link_is_overdue(&link));
	pv_link_finish(&link);
	assert_int_equal(pv_link_kept(&link), 0);
}

/* A link that has sent ten bytes, three of them acknowledged. */
static void begin_ten(struct pv_link *link)
{
	struct pv_err err = PV_ERR_INIT;
	pv_link_init(link, FRAME_MAX);
	pv_link_begin(link, 5);
	assert_int_equal(pv_link_open(link, &err), 0);
	assert_int_equal(pv_bytes_append(&link->out, "0123456789abc", 13), 0);
	pv_link_mark_sent(link, 10);
	pv_link_cut(link);
	assert_int_equal(pv_link_resume(link, 3, &err), 0);
	assert_int_equal(pv_link_open(link, &err), 0);
	assert_int_equal(pv_link_sent(link), 3);
	assert_memory_equal(pv_link_unsent(link).data, "3456789abc", 10);
	pv_link_mark_sent(link, 7);
}

static void counts_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint64_t count;
		const char *sentence;
	} bad[] = {
	    {0,		"0 bytes were received, after 3 were"	     },
	    {2,		"2 bytes were received, after 3 were"	     },
	    {11,	 "11 bytes were received of 10 that were sent"},
	    {UINT64_MAX, "bytes were received of 10 that were sent"   },
	};
	struct pv_link link;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pv_err err = PV_ERR_INIT;
		uint8_t frame[] = {
		    0, 0, 0, 14, 0x81, 0xa3, 'a', 'c', 'k', 0xcf, 0, 0, 0, 0, 0, 0, 0, 0};
		uint64_t wire = __builtin_bswap64(bad[i].count);
		struct pv_span payload;
		begin_ten(&link);
		assert_int_equal(pv_link_resume(&link, bad[i].count, &err), -EBADMSG);
		assert_non_null(strstr(err.text, bad[i].sentence));
		assert_int_equal(pv_link_sent(&link), 10);
		/* The same as a frame. */
		memcpy(frame + 10, &wire, sizeof(wire));
		assert_int_equal(pv_link_feed(&link, frame, sizeof(frame), &err), 0);
		int status = pv_link_next(&link, &payload, &err);
		if (bad[i].count < 3) {
			/* It was overtaken by a handshake. */
			assert_int_equal(status, 0);
			assert_int_equal(pv_link_kept(&link), 10);
		} else {
			assert_int_equal(status, -EBADMSG);
			assert_non_null(strstr(err.text, bad[i].sentence));
		}
		pv_link_finish(&link);
	}
	struct pv_err err = PV_ERR_INIT;
	begin_ten(&link);
	assert_int_equal(pv_link_resume(&link, 10, &err), 0);
	assert_memory_equal(pv_link_unsent(&link).data, "abc", 3);
	pv_link_finish(&link);
}

static void without_a_session_nothing_is_kept_and_an_acknowledgement_is_a_frame(void **state)
{
	static const uint8_t frame[] = {
	    0, 0, 0, 14, 0x81, 0xa3, 'a', 'c', 'k', 0xcf, 0, 0, 0, 0, 0, 0, 0, 1};
	static uint8_t data[PV_LINK_ACK_EVERY + 1];
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	struct pv_link link;
	pv_link_init(&link, FRAME_MAX);
	pv_link_adopt(&link, 0, 0, 0);
	assert_int_equal(pv_bytes_append(&link.out, "some bytes", 10), 0);
	pv_link_mark_sent(&link, 10);
	assert_int_equal(pv_link_kept(&link), 0);
	assert_int_equal(pv_link_feed(&link, frame, sizeof(frame), &err), 0);
	assert_int_equal(pv_link_next(&link, &payload, &err), 1);
	assert_int_equal(payload.len, 14);
	pv_put_be32(data, sizeof(data) - 4);
	assert_int_equal(pv_link_feed(&link, data, sizeof(data), &err), 0);
	assert_int_equal(pv_link_unsent(&link).len, 0);
	pv_link_finish(&link);
}

static void what_comes_with_the_handshake_belongs_to_the_stream(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	struct pv_link link;
	pv_link_init(&link, FRAME_MAX);
	/* A handshake, a frame and the beginning of another. */
	assert_int_equal(pv_link_feed(&link, "\0\0\0\1h\0\0\0\2ab\0\0", 13, &err), 0);
	assert_int_equal(pv_link_next(&link, &payload, &err), 1);
	assert_memory_equal(payload.data, "h", 1);
	assert_int_equal(pv_bytes_append(pv_link_hail(&link), "hail", 4), 0);
	pv_link_begin(&link, 9);
	assert_int_equal(pv_link_open(&link, &err), 0);
	assert_int_equal(pv_bytes_append(&link.out, "stream", 6), 0);
	assert_int_equal(pv_link_next(&link, &payload, &err), 1);
	assert_memory_equal(payload.data, "ab", 2);
	assert_int_equal(link.received, 8);
	assert_false(pv_link_is_idle(&link));
	/* Ours goes first and is not counted. */
	assert_int_equal(pv_link_unsent(&link).len, 4);
	pv_link_mark_sent(&link, 4);
	assert_int_equal(pv_link_sent(&link), 0);
	assert_memory_equal(pv_link_unsent(&link).data, "stream", 6);
	pv_link_mark_sent(&link, 2);
	/* Half a handshake more, and nothing of it is left. */
	pv_link_cut(&link);
	assert_int_equal(pv_link_unsent(&link).len, 0);
	assert_int_equal(pv_link_feed(&link, "\0\0\0\1", 4, &err), 0);
	assert_int_equal(pv_link_next(&link, &payload, &err), 0);
	pv_link_cut(&link);
	assert_int_equal(pv_link_resume(&link, 1, &err), 0);
	assert_int_equal(pv_link_open(&link, &err), 0);
	assert_memory_equal(pv_link_unsent(&link).data, "tream", 5);
	assert_int_equal(pv_link_feed(&link, "\0\1z", 3, &err), 0);
	assert_int_equal(pv_link_next(&link, &payload, &err), 1);
	assert_memory_equal(payload.data, "z", 1);
	assert_int_equal(link.received, 11);
	pv_link_finish(&link);
}

static void a_restored_link_goes_on_and_acknowledges_where_the_saved_one_would(void **state)
{
	static uint8_t data[1000];
	struct pv_err err = PV_ERR_INIT;
	struct pv_link link;
	pv_link_init(&link, FRAME_MAX);
	pv_link_adopt(&link, 5, 1 << 20, PV_LINK_ACK_EVERY - 1000);
	pv_put_be32(data, 2 * sizeof(data));
	assert_int_equal(pv_link_feed(&link, data, 999, &err), 0);
	assert_int_equal(pv_link_unsent(&link).len, 0);
	assert_int_equal(pv_link_feed(&link, data, 1, &err), 0);
	assert_int_equal(pv_link_unsent(&link).len, 18);
	/* What the saved one had sent is not there any more. */
	assert_int_equal(pv_link_resume(&link, (1 << 20) - 1, &err), -EBADMSG);
	assert_int_equal(pv_link_resume(&link, 1 << 20, &err), 0);
	pv_link_finish(&link);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_cut_at_any_byte_loses_and_repeats_nothing),
	    cmocka_unit_test(what_is_kept_is_bounded_by_acknowledgements),
	    cmocka_unit_test(who_acknowledges_nothing_is_noticed),
	    cmocka_unit_test(counts_that_cannot_be_are_refused),
	    cmocka_unit_test(without_a_session_nothing_is_kept_and_an_acknowledgement_is_a_frame),
	    cmocka_unit_test(what_comes_with_the_handshake_belongs_to_the_stream),
	    cmocka_unit_test(a_restored_link_goes_on_and_acknowledges_where_the_saved_one_would),
	};
	return cmocka_run_group_tests_name("agent_link", tests, NULL, NULL);
}
