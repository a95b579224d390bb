/*
 * What a guest starts from: kernel, command line and initramfs. One kit serves all that go on from
 * the same guest: restores, forks, baselines.
 */
#ifndef PV_LAB_BOOT_KIT_H
#define PV_LAB_BOOT_KIT_H

struct pv_boot_kit;
struct pv_err;
struct pv_host;
struct pv_machine_boot;
struct pv_options;
struct pv_profile;

/*
 * A kit of what the profile and the options (copied) say. The files are opened now and read when
 * somebody boots; one that cannot be opened is told by pv_boot_kit_get. The caller owns one
 * reference; host and profile outlive it. Script thread. Returns 0 or -ENOMEM.
 */
int pv_boot_kit_create(struct pv_boot_kit **out, struct pv_host *host,
    const struct pv_profile *profile, const struct pv_options *options, struct pv_err *err);

/* Another reference, `kit` itself, which may be NULL. Any thread. */
struct pv_boot_kit *pv_boot_kit_ref(struct pv_boot_kit *kit);
/* NULL is fine. Any thread. */
void pv_boot_kit_unref(struct pv_boot_kit *kit);

/*
 * What a machine boots, made when it is first asked for, and valid as long as the kit. Any thread,
 * without the loop lock. Returns 0, or -errno with a sentence that names the file, then and at
 * every later call.
 */
int pv_boot_kit_get(struct pv_boot_kit *kit, struct pv_machine_boot *boot, struct pv_err *err);

/* It was copied into a guest: lets the host's resident memory of it go until it is read again. NULL
 * is fine. Any thread. */
void pv_boot_kit_cool(struct pv_boot_kit *kit);

#endif
