/*
 * Writing and reading event frames. Theory: a frame is begun at the end of a buffer, packed in a
 * row and closed; the first failure sticks in the packer and the unfinished frame is cut off, so a
 * buffer only ever holds whole frames.
 */
#include "runner/event.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/frame.h"

void pv_event_begin(
    struct pv_event_writer *writer, struct pv_bytes *out, const char *kind, uint32_t fields)
{
	*writer = (struct pv_event_writer){
	    .out = out, .pack = {.out = out}, .start = pv_frame_begin(out)};
	if (writer->start < 0) {
		writer->pack.status = (int)writer->start;
		return;
	}
	pv_pack_map(&writer->pack, 3);
	pv_pack_str(&writer->pack, "ts");
	pv_pack_int(&writer->pack, pv_clock_wall());
	pv_pack_str(&writer->pack, "kind");
	pv_pack_str(&writer->pack, kind);
	pv_pack_str(&writer->pack, "payload");
	pv_pack_map(&writer->pack, fields);
}

void pv_event_str(struct pv_event_writer *writer, const char *key, const char *value)
{
	pv_pack_str(&writer->pack, key);
	pv_pack_str(&writer->pack, value);
}

void pv_event_uint(struct pv_event_writer *writer, const char *key, uint64_t value)
{
	pv_pack_str(&writer->pack, key);
	pv_pack_uint(&writer->pack, value);
}

void pv_event_raw(struct pv_event_writer *writer, const char *key, const void *encoded, size_t len)
{
	pv_pack_str(&writer->pack, key);
	if (!writer->pack.status)
		writer->pack.status = pv_bytes_append(writer->out, encoded, len);
}

int pv_event_end(struct pv_event_writer *writer)
{
	if (writer->start < 0)
		return writer->pack.status;
	if (!writer->pack.status)
		return pv_frame_end(writer->out, writer->start);
	writer->out->len = (size_t)writer->start;
	return writer->pack.status;
}

int pv_event_parse(struct pv_event *event, const void *data, size_t len, struct pv_err *err)
{
	*event = (struct pv_event){0};
	int status = pv_doc_parse(&event->doc, data, len, err);
	if (status)
		return status;
	const struct pv_val *root = pv_doc_root(event->doc);
	const char *kind;
	size_t kind_len;
	event->payload = pv_val_get(root, "payload");
	if (!pv_val_str(pv_val_get(root, "kind"), &kind, &kind_len) ||
	    kind_len >= sizeof(event->kind) || pv_val_type(event->payload) != PV_VAL_MAP) {
		pv_event_finish(event);
		return pv_err_set(err, PV_ERR_INTERNAL, EBADMSG, "event without kind or payload");
	}
	memcpy(event->kind, kind, kind_len);
	return 0;
}

void pv_event_finish(struct pv_event *event)
{
	pv_doc_destroy(event->doc);
	*event = (struct pv_event){0};
}

void pv_event_tell(const struct pv_event_outlet *outlet, const struct pv_event *event)
{
	static const char internal[] = "worker_";
	if (outlet && strncmp(event->kind, internal, sizeof(internal) - 1) != 0)
		outlet->take(outlet->ctx, event);
}

void pv_event_tell_written(const struct pv_event_outlet *outlet, struct pv_event_writer *writer)
{
	struct pv_bytes *out = writer->out;
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_event event;
	if (pv_event_end(writer) == 0 && out->len > PV_FRAME_HEADER &&
	    pv_event_parse(
		&event, out->data + PV_FRAME_HEADER, out->len - PV_FRAME_HEADER, &ignored) == 0) {
		pv_event_tell(outlet, &event);
		pv_event_finish(&event);
	}
	pv_bytes_finish(out);
}

char *pv_event_text(const struct pv_event *event, const char *key)
{
	const void *text;
	size_t len;
	if (!pv_val_bytes(pv_val_get(event->payload, key), &text, &len))
		return NULL;
	return strndup(text, len);
}

uint64_t pv_event_number(const struct pv_event *event, const char *key)
{
	uint64_t number = 0;
	pv_val_uint(pv_val_get(event->payload, key), &number);
	return number;
}
