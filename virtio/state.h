/*
 * Snapshots of devices: what each keeps of itself, as msgpack, and the way back into a fresh device
 * of the same kind, so that a guest that runs on notices nothing. All under the loop lock, with the
 * machine paused and no callback of a device running.
 *
 * Saving is one call per device (it includes its queues and features) and one per transport. The
 * way back, in this order:
 *
 *   1. Guest memory is in place. Every device and transport is as after its creation, or after
 *      pv_virtio_pci_reset on all of them.
 *   2. For each device pv_rng_load, pv_console_load or pv_vsock_load.
 *   3. For each transport, after its device, pv_virtio_pci_load. It claims BARs on the bus, maps
 *      doorbells and tells the owner of messages and of the wire; it fires nothing.
 *   4. When interrupt controllers have their state too, and before vCPUs run: pv_virtio_resume for
 *      each device.
 *
 * One saved state may be loaded into any number of devices; they share nothing.
 *
 * States come from files and are hostile. A loader returns 0, -EBADMSG (the state is damaged, or of
 * another device), -EBUSY (this device is not fresh) or -ENOMEM, with a sentence in `err`; after an
 * error the device is as it was. Steps 2 and 3 do not touch guest memory. Savers report out of
 * memory in the packer.
 */
#ifndef PV_VIRTIO_STATE_H
#define PV_VIRTIO_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_console;
struct pv_err;
struct pv_pack;
struct pv_rng;
struct pv_stream_port_ops;
struct pv_val;
struct pv_virtio;
struct pv_virtio_pci;
struct pv_vsock;
struct pv_vsock_conn;

/* --- devices, for their owner --- */

/* Includes where a seeded stream is; whether there is a seed comes from the state too. */
void pv_rng_save(const struct pv_rng *rng, struct pv_pack *pack);
int pv_rng_load(struct pv_rng *rng, const struct pv_val *val, struct pv_err *err);

/* Includes what was typed and not taken yet, which replaces what waits in the loading device. */
void pv_console_save(const struct pv_console *console, struct pv_pack *pack);
int pv_console_load(struct pv_console *console, const struct pv_val *val, struct pv_err *err);

/*
 * Includes the guest's CID, the last port given to a connection of the host, RSTs that wait, and
 * all connections with the bytes that wait for the guest. The ports of connections are the host's
 * and not saved: `adopt` is asked about each connection, takes it by returning true with ops and
 * port_ctx filled in (of which nothing is called meanwhile), or answers false, and then the guest
 * gets a RST after pv_virtio_resume. NULL adopts none. `adopt` may call the device; what it sends
 * goes out with the resume. `conn` is valid as after pv_vsock_connect. Listeners are not saved.
 */
void pv_vsock_save(const struct pv_vsock *vsock, struct pv_pack *pack);
int pv_vsock_load(struct pv_vsock *vsock, const struct pv_val *val,
    bool (*adopt)(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port,
	const struct pv_stream_port_ops **ops, void **port_ctx),
    void *ctx, struct pv_err *err);

/*
 * A kick or an interrupt may have been on its way when the state was saved: looks through every
 * enabled queue of a running device as if it had been kicked, and interrupts once for each. A
 * device that waits for its reset says so once more.
 */
void pv_virtio_resume(struct pv_virtio *dev);

/* --- the transport, for the owner --- */

/*
 * Configuration space, vectors, MSI-X table and pending bits, ISR, selectors, and which BARs were
 * on the bus. A BAR that was on the bus and finds its place taken is an error; one that was not,
 * for instance because it was in the way of another, stays away.
 */
void pv_virtio_pci_save(const struct pv_virtio_pci *pci, struct pv_pack *pack);
int pv_virtio_pci_load(struct pv_virtio_pci *pci, const struct pv_val *val, struct pv_err *err);

/* --- the part that all devices have, for device models --- */

/* Id, features, status, generation, fault, queues. */
void pv_virtio_save(const struct pv_virtio *dev, struct pv_pack *pack);
int pv_virtio_load(struct pv_virtio *dev, const struct pv_val *val, struct pv_err *err);

#endif
