/*
 * Frozen guests. A template is the RAM and the state of a machine at one moment, and any number of
 * machines go on from it, each for itself: in this process (fork), from a file (restore), or the
 * very machine that it was made of (rewind). RAM is shared page by page until somebody writes.
 *
 * Templates are immutable and counted; functions on them are called on any thread. Functions on
 * machines are called as those of vmm/machine.h: without the loop lock, not on the loop's or a
 * vCPU's thread, and nothing else is done to the machine's sockets and consoles meanwhile.
 */
#ifndef PV_VMM_TEMPLATE_H
#define PV_VMM_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_kvm;
struct pv_loop;
struct pv_machine;
struct pv_machine_config;
struct pv_stream_port_ops;
struct pv_template;
struct pv_vsock_conn;
struct pv_working_set;

/* Longest section of the owner's. */
#define PV_TEMPLATE_OWNER_MAX (16u << 20)

/* Another reference, `template` itself. */
struct pv_template *pv_template_ref(struct pv_template *template);
/* Gives one back; the last one frees. Machines hold their own. NULL is fine. */
void pv_template_unref(struct pv_template *template);

/* What the guest has: bytes of RAM, vCPUs. */
uint64_t pv_template_memory(const struct pv_template *template);
unsigned pv_template_cpus(const struct pv_template *template);
/* It was given a seed, so all that go on from it draw the same random numbers. */
bool pv_template_is_seeded(const struct pv_template *template);

/*
 * Bytes of the owner's (names, counters of its own connections), which go with the template into
 * its file and out of it. Copied. Only before the template is given to others. Returns 0, -ENOMEM,
 * or -E2BIG over PV_TEMPLATE_OWNER_MAX.
 */
int pv_template_set_owner(
    struct pv_template *template, const void *data, size_t len, struct pv_err *err);
/* They, or NULL and 0. Valid as long as the template. */
const void *pv_template_owner(const struct pv_template *template, size_t *len);

/*
 * What a guest that goes on from here touches first (vmm/working_set.h): those that are restored
 * find it ready. Takes the set. Only before the template is given to others.
 */
void pv_template_set_working_set(struct pv_template *template, struct pv_working_set *set);
bool pv_template_has_working_set(const struct pv_template *template);

/* Has the host keep what of the template's file is in the set in a way that is quick to map, for
 * all who restore it from now on, also in other processes. Takes some milliseconds, once. */
void pv_template_gather(const struct pv_template *template, const struct pv_working_set *set);

/*
 * Makes a template of a paused machine, which stays paused and usable. When its RAM is a file of
 * its own nothing is copied: the file becomes the template's, and the machine keeps its later
 * changes for itself. A machine that goes on from a template already is copied, but for pages of
 * zeroes. From then on a rewind leads here. The caller owns one reference. Returns 0 or -errno.
 */
int pv_machine_freeze(struct pv_machine *machine, struct pv_template **out, struct pv_err *err);

/* Takes over a connection that was open in the guest; virtio/state.h, pv_vsock_load. [locked] */
typedef bool pv_machine_adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port,
    uint32_t guest_port, const struct pv_stream_port_ops **ops, void **port_ctx);

struct pv_machine_restore {
	/*
	 * What later resets boot: kernel (or payload), command line, initrd. May be NULL or have
	 * neither, and then a guest that reboots stops with a sentence. Events are taken from here
	 * too; sizes, devices and seeds are the template's.
	 */
	const struct pv_machine_config *boot;
	pv_machine_adopt *adopt; /* NULL: all connections are reset */
	void *adopt_ctx;	 /* both stay with the machine, for its rewinds */
	/* The date, as the RTC shows it and a reboot finds it, is the host's; else it goes on where
	 * it stood. A system that runs keeps its own and has to be told by whom it listens to. */
	bool clock_now;
	bool reseed; /* a seeded entropy device gives the host's entropy instead */
};

/*
 * Builds a machine that is paused and goes on from the template with pv_machine_resume. Any number
 * may do so at once. The caller destroys it. Returns 0 or -errno; -EBADMSG and -ENOTSUP with a
 * sentence when the template came from a file that is damaged inside, or from another kind of host.
 */
int pv_machine_restore(struct pv_machine **out, struct pv_kvm *kvm, struct pv_loop *loop,
    struct pv_template *template, const struct pv_machine_restore *options, struct pv_err *err);

/* What a rewind leads to, or NULL. Borrowed: valid until the machine is frozen again or destroyed.
 * On the thread that does these. */
const struct pv_template *pv_machine_template(const struct pv_machine *machine);

/* Who takes over connections at a rewind from now on. [locked] */
void pv_machine_set_adopt(struct pv_machine *machine, pv_machine_adopt *adopt, void *adopt_ctx);

/*
 * What the guest has touched since the machine was restored, if nothing was ready for it then:
 * once, soon after its first answer. NULL: that is not known. The caller frees it. [locked]
 */
struct pv_working_set *pv_machine_take_working_set(struct pv_machine *machine);

/* How long the guest of a machine that announces late runs, at most, before it is told. */
#define PV_MACHINE_ANNOUNCE_NS INT64_C(1000000000)

/*
 * A guest that goes on from a template has another generation id in its memory, and is told so by
 * an event before its next instruction. After pv_machine_announce_late the event comes when
 * pv_machine_announce says so, or some time later by itself: the guest's way through it takes
 * longer than a short answer. The id and what else differs is not late. [locked]
 */
void pv_machine_announce_late(struct pv_machine *machine);
/* Does nothing when the guest has been told. [locked] */
void pv_machine_announce(struct pv_machine *machine);

/*
 * Takes a paused machine back to the template that it was last frozen into or restored from, in
 * place, also when it rebooted since; it stays paused. Open connections are closed (their ports get
 * `closed`) before those of the template are offered for adoption. Returns 0 or -errno: -EINVAL
 * when the machine is not paused or has no template; after any other failure it is stopped.
 */
int pv_machine_rewind(struct pv_machine *machine, struct pv_err *err);

/* Whether a rewind of the paused machine will find what it needs. Returns 0, or -errno as the
 * rewind would, and then the machine is as before. */
int pv_machine_check_rewind(struct pv_machine *machine, struct pv_err *err);

/* Gives a paused machine another date, as `clock_now` does at a restore. Returns 0 or -EINVAL. */
int pv_machine_set_date(struct pv_machine *machine, int64_t wall_ns, struct pv_err *err);

/* --- files --- */

struct pv_template_write {
	/*
	 * NULL: the file holds all of RAM and needs no other one. A directory: only what differs
	 * from the file that the template builds on, if there is one beneath that directory (the
	 * template came from it, or it or one of its ancestors was written to it) that was not
	 * replaced since. The base is named relative to the new file's directory, so that the
	 * whole directory may be moved.
	 */
	const char *layer_within;
};

/*
 * Writes the template to a file, through a temporary name beside it that is renamed, so that `path`
 * is the old file or all of the new one; not synced to the disk. RAM is sparse in it. The file is
 * made read-only, since machines go on sharing its pages: replace or delete it at any time, but
 * never change it. `options` may be NULL. Returns 0 or -errno, and then nothing is left behind.
 */
int pv_template_write(const struct pv_template *template, const char *path,
    const struct pv_template_write *options, struct pv_err *err);

/*
 * The same into `fd`, an empty regular file that the caller opened for writing and keeps from being
 * changed; it needs no other one. `name` is for sentences. Returns 0 or -errno.
 */
int pv_template_write_fd(
    const struct pv_template *template, int fd, const char *name, struct pv_err *err);

/*
 * Opens such a file, and those that it builds on. Headers and state are checked by their checksums,
 * and RAM, which is read only when guests touch it, when `verify_ram` asks for it. A file that is
 * not a snapshot, is cut short, damaged, of a newer version or another architecture, or builds on
 * one that is missing or is another one now, is refused with a sentence that names it. The caller
 * owns one reference. Returns 0 or -errno.
 */
int pv_template_open(
    struct pv_template **out, const char *path, bool verify_ram, struct pv_err *err);

/* Hexadecimal digits of a file's identity and a NUL. */
#define PV_TEMPLATE_ID 33

/* What a file's header tells. */
struct pv_template_info {
	char id[PV_TEMPLATE_ID];      /* of this very file: random, made when it was written */
	uint64_t memory;	      /* bytes of RAM that the guest has */
	char *base;		      /* the file that it builds on; NULL: none */
	char base_id[PV_TEMPLATE_ID]; /* "" without a base */
};

/* Writes the identity of the file that the template was read from. False: it was not. */
bool pv_template_file_id(const struct pv_template *template, char id[PV_TEMPLATE_ID]);

/*
 * Looks at a file without restoring it: reads one page and checks that, but not whether the base is
 * there (look at that one too). `base` is a path for this process, beginning as `path` does. The
 * caller finishes `info`. Returns 0 or -errno, as pv_template_open.
 */
int pv_template_inspect(struct pv_template_info *info, const char *path, struct pv_err *err);
/* NULL and zeroed are fine. */
void pv_template_info_finish(struct pv_template_info *info);

#endif
