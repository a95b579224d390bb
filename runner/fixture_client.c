/*
 * Asking for builds. Theory: the script thread sends worker_fixture_wanted {request, name, path,
 * key, legacy} and sleeps on the loop; the loop thread reads the dispatcher's answers
 * (runner/fixture_builds.c) and wakes it. When the host is interrupted meanwhile the request is
 * given up, and its answer, which may still come, is told from the next one's by its number.
 */
#include "runner/fixture_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "runner/event.h"
#include "runner/passing.h"
#include "runner/worker_process.h"

/* --- the loop thread --- */

static void take_frame(void *ctx, const struct pv_event *event)
{
	struct pv_fixture_client *client = ctx;
	if (client->answered || pv_event_number(event, "request") != client->awaited)
		return;
	if (strcmp(event->kind, "worker_fixture_ready") == 0) {
		client->answered = true;
		client->held = pv_event_number(event, "held") != 0;
	} else if (strcmp(event->kind, "worker_fixture_failed") == 0) {
		client->answered = true;
		client->failure = pv_event_text(event, "text");
	}
}

static void on_answer(void *ctx, uint32_t events)
{
	struct pv_fixture_client *client = ctx;
	if (!pv_passing_receive_events(
		client->process->fd, &client->frames, &client->received, take_frame, client)) {
		client->gone = true;
		pv_loop_watch_remove(&client->watch);
	}
	pv_loop_wake(client->process->host.loop);
}

/* --- the script thread --- */

static void send_request(struct pv_fixture_client *client, const struct pv_fixture_request *request)
{
	struct pv_event_writer writer;
	pv_event_begin(&writer, &client->process->out, "worker_fixture_wanted", 5);
	pv_event_uint(&writer, "request", client->request);
	pv_event_str(&writer, "name", request->name);
	pv_event_str(&writer, "path", request->path);
	pv_event_str(&writer, "key", request->key);
	pv_event_uint(&writer, "legacy", request->legacy);
	pv_worker_process_send(client->process, &writer);
}

/* [loop lock] Sleeps until the answer is there, or none will come. */
static void wait_answer(struct pv_fixture_client *client)
{
	const struct pv_host *host = &client->process->host;
	while (!client->answered && !client->gone && !host->interrupt)
		pv_loop_wait(host->loop, PV_CLOCK_NEVER);
}

/* [loop lock] */
static int take_answer(struct pv_fixture_client *client, const char *name,
    struct pv_fixture_answer *answer, struct pv_bytes *why, struct pv_err *err)
{
	if (client->process->host.interrupt)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "fixture `%s`: %s", name,
		    client->process->host.interrupt);
	if (!client->answered)
		return pv_err_set(err, PV_ERR_SYSTEM, EPIPE,
		    "fixture `%s`: the run is over, nobody builds it", name);
	if (client->failure) {
		if (pv_bytes_printf(why, "%s", client->failure))
			pv_bytes_finish(why);
		return pv_err_set(err, PV_ERR_GUEST, EIO, "%s", client->failure);
	}
	if (client->held) {
		answer->fd = client->received;
		client->received = -1;
		if (answer->fd < 0)
			return pv_err_set(err, PV_ERR_SYSTEM, EMFILE,
			    "fixture `%s`: its descriptor was lost on the way; has this file too "
			    "many open?",
			    name);
	}
	return 0;
}

static int build(void *ctx, const struct pv_fixture_request *request,
    struct pv_fixture_answer *answer, struct pv_bytes *why, struct pv_err *err)
{
	struct pv_fixture_client *client = ctx;
	struct pv_loop *loop = client->process->host.loop;
	pv_loop_lock(loop);
	client->awaited = ++client->request;
	client->answered = client->held = false;
	pv_loop_unlock(loop);
	send_request(client, request);
	pv_loop_lock(loop);
	wait_answer(client);
	const int status = take_answer(client, request->name, answer, why, err);
	client->awaited = 0;
	free(client->failure);
	client->failure = NULL;
	pv_loop_unlock(loop);
	return status;
}

static void on_hit(void *ctx, const char *name)
{
	struct pv_fixture_client *client = ctx;
	struct pv_event_writer writer;
	pv_event_begin(&writer, &client->process->out, "fixture_cache_hit", 1);
	pv_event_str(&writer, "path", name);
	pv_worker_process_send(client->process, &writer);
}

/* --- life --- */

int pv_fixture_client_init(struct pv_fixture_client *client, struct pv_worker_process *process,
    const struct pv_fixture_place *place, struct pv_err *err)
{
	*client = (struct pv_fixture_client){
	    .process = process,
	    .received = -1,
	    .fixtures = {.place = place, .build = build, .hit = on_hit},
	};
	client->fixtures.ctx = client;
	pv_loop_lock(process->host.loop);
	const int status = pv_loop_watch_add(
	    process->host.loop, &client->watch, process->fd, EPOLLIN, on_answer, client, err);
	pv_loop_unlock(process->host.loop);
	return status;
}

void pv_fixture_client_finish(struct pv_fixture_client *client)
{
	pv_loop_lock(client->process->host.loop);
	pv_loop_watch_remove(&client->watch);
	pv_loop_unlock(client->process->host.loop);
	pv_frame_reader_finish(&client->frames);
	pv_fd_close(&client->received);
	free(client->failure);
}
