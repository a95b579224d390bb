/*
 * Spare machines.
 *
 * A machine that goes on from a template gets every bit of its state set, whether its virtual
 * machine is new or was another guest's; a rewind does nothing else. What is left to do for a used
 * one is what a template does not know of: interrupt pins (lowered by whoever gives it, who knows
 * them), doorbells in the kernel, timers that would go on ticking into a machine that nobody runs,
 * the shared pages of each vCPU, and the guest's memory. Taking a doorbell out costs a grace period
 * and memory its time, so one thread does that in the background, in the order in which spares
 * come.
 *
 * Memory that began as an image is set back as by a rewind and stays mapped, in this process and in
 * the guest's tables: the next machine that goes on from the same image, or from the same file
 * opened anew, finds everything mapped that the last one used, which is most of the time that a
 * guest needs to its first answer. An image in memory that nobody else has any more is let go when
 * the next spare comes or is taken; a file that has a name may be restored again, and costs nothing
 * but an open descriptor.
 *
 * Only few are kept, for tests that restore and destroy one guest after the other; their memory
 * slots cost kernel memory. When there is no room, the oldest spare of another shape makes some.
 *
 * The pool's lock is a leaf.
 */
#include "vmm/spare.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "vmm/coalesced.h"
#include "vmm/gsi.h"
#include "vmm/kvm.h"
#include "vmm/ram_image.h"
#include "vmm/ram_own.h"
#include "vmm/reap.h"

#define SPARES_MAX 4u
/* RAM of all spares: a memory slot takes up to half a percent of it in the kernel. */
#define SIZE_MAX_ALL (UINT64_C(4) << 30)

#define STACK_SIZE (64u << 10)

#define MSR_IA32_TSC_DEADLINE 0x6e0u
/* Offset in the register page of a local APIC: the timer's initial count. */
#define APIC_TMICT 0x380u
/* A mode in which KVM lets channel 0 wait for a trigger that never comes. */
#define PIT_MODE_STILL 5

/* While one is not clean its `spare` is the pool's thread's alone, without the lock. */
struct entry {
	struct pv_spare spare;
	uint64_t size; /* of its RAM */
	bool used;
	bool clean;
	uint64_t number; /* they are cleaned, and go, in this order */
};

struct pv_spare_pool {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool has_thread;
	bool quit;
	uint64_t next;
	struct entry entries[SPARES_MAX];
};

struct pv_spare_pool *pv_spare_pool_create(void)
{
	struct pv_spare_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->changed, NULL);
	return pool;
}

void pv_spare_finish(struct pv_spare *spare, struct pv_reaper *reaper)
{
	const unsigned cpus = spare->vm.cpus;
	struct pv_reap *reap =
	    reaper ? pv_reap_create(reaper, PV_KVM_VM_REAP_FDS(cpus) + spare->bell_count,
			 PV_KVM_VM_REAP_MAPPINGS(cpus) + 1)
		   : NULL;
	for (unsigned i = 0; i < spare->bell_count; i++)
		pv_reap_fd(reap, spare->bells[i].fd);
	pv_ram_finish(&spare->ram, reap);
	pv_kvm_vm_finish(&spare->vm, reap);
	pv_reap_start(reap);
	free(spare->bells);
	*spare = (struct pv_spare){.vm.fd = -1};
}

void pv_spare_pool_destroy(struct pv_spare_pool *pool, struct pv_reaper *reaper)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->changed);
	pthread_mutex_unlock(&pool->lock);
	if (pool->has_thread)
		pthread_join(pool->thread, NULL);
	for (unsigned i = 0; i < SPARES_MAX; i++) {
		if (pool->entries[i].used)
			pv_spare_finish(&pool->entries[i].spare, reaper);
	}
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* --- cleaning --- */

static bool stop_timers(const struct pv_kvm_vm *vm)
{
	struct kvm_pit_state2 pit = {0};
	pit.channels[0].mode = PIT_MODE_STILL;
	bool good = ioctl(vm->fd, KVM_SET_PIT2, &pit) == 0;
	for (unsigned i = 0; i < vm->cpus && good; i++) {
		struct {
			struct kvm_msrs head;
			struct kvm_msr_entry entries[1];
		} deadline = {.head.nmsrs = 1, .entries = {{.index = MSR_IA32_TSC_DEADLINE}}};
		struct kvm_lapic_state lapic;
		/* A processor without deadlines has none to stop. */
		ioctl(vm->vcpus[i].fd, KVM_SET_MSRS, &deadline);
		good = ioctl(vm->vcpus[i].fd, KVM_GET_LAPIC, &lapic) == 0;
		pv_put_le32(lapic.regs + APIC_TMICT, 0);
		good = good && ioctl(vm->vcpus[i].fd, KVM_SET_LAPIC, &lapic) == 0;
	}
	return good;
}

static bool remove_bells(struct pv_spare *spare)
{
	const struct pv_gsi gsi = {.vm = &spare->vm};
	bool good = true;
	for (unsigned i = 0; i < spare->bell_count; i++) {
		const struct pv_spare_bell *bell = &spare->bells[i];
		good = pv_gsi_doorbell(&gsi, bell->gpa, bell->fd, false) == 0 && good;
		close(bell->fd);
	}
	free(spare->bells);
	spare->bells = NULL;
	spare->bell_count = 0;
	return good;
}

static bool clear_memory(struct pv_ram *ram)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
	struct pv_err ignored = PV_ERR_INIT;
	if (ram->image && pv_ram_image_check(ram->image, &ignored) == 0 &&
	    pv_ram_own_undo(ram) == 0)
		return true;
	pv_ram_leave(ram);
	return mmap(ram->host, ram->size, PROT_NONE, flags, -1, 0) != MAP_FAILED;
}

/* Memory last: KVM may write into it when a vCPU is asked for something. False: it must not be
 * used. */
static bool clean(struct pv_spare *spare)
{
	bool good = stop_timers(&spare->vm);
	good = remove_bells(spare) && good;
	pv_coalesced_forget(spare->vm.coalesced);
	for (unsigned i = 0; i < spare->vm.cpus; i++)
		memset(spare->vm.vcpus[i].run, 0, sizeof(*spare->vm.vcpus[i].run));
	return clear_memory(&spare->ram) && good;
}

static struct entry *next_dirty(struct pv_spare_pool *pool)
{
	struct entry *next = NULL;
	for (unsigned i = 0; i < SPARES_MAX; i++) {
		struct entry *entry = &pool->entries[i];
		if (entry->used && !entry->clean && (!next || entry->number < next->number))
			next = entry;
	}
	return next;
}

static void *clean_all(void *arg)
{
	struct pv_spare_pool *pool = arg;
	pthread_mutex_lock(&pool->lock);
	while (!pool->quit) {
		struct entry *entry = next_dirty(pool);
		if (!entry) {
			pthread_cond_wait(&pool->changed, &pool->lock);
			continue;
		}
		/* Nobody else touches one that is not clean. */
		pthread_mutex_unlock(&pool->lock);
		bool good = clean(&entry->spare);
		if (!good)
			pv_spare_finish(&entry->spare, NULL);
		pthread_mutex_lock(&pool->lock);
		entry->clean = entry->used = good;
		pthread_cond_broadcast(&pool->changed);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Under the lock. */
static bool start_thread(struct pv_spare_pool *pool)
{
	sigset_t all, before;
	pthread_attr_t attr;
	if (pool->has_thread)
		return true;
	if (pthread_attr_init(&attr) != 0)
		return false;
	/* Sanitizers need more than this for themselves; then the default stays. */
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pool->has_thread = pthread_create(&pool->thread, &attr, clean_all, pool) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return pool->has_thread;
}

unsigned pv_spare_pool_settle(struct pv_spare_pool *pool)
{
	unsigned count = 0;
	pthread_mutex_lock(&pool->lock);
	while (next_dirty(pool))
		pthread_cond_wait(&pool->changed, &pool->lock);
	for (unsigned i = 0; i < SPARES_MAX; i++)
		count += pool->entries[i].used;
	pthread_mutex_unlock(&pool->lock);
	return count;
}

/* --- images that nobody else has --- */

/* Under the lock: references that the pool has on an image of its entries'. What those have that
 * are not clean is not known; without them an image is held a little longer. */
static unsigned count_references(const struct pv_spare_pool *pool, const struct pv_ram_image *image)
{
	unsigned count = 0;
	for (unsigned i = 0; i < SPARES_MAX; i++) {
		const struct entry *entry = &pool->entries[i];
		if (entry->used && entry->clean)
			count +=
			    (entry->spare.ram.image == image) + (entry->spare.ram.mapped == image);
	}
	return count;
}

/* Under the lock: nobody can restore this RAM any more, which would be kept in vain. */
static bool is_lost(const struct pv_spare_pool *pool, const struct pv_ram *ram)
{
	return ram->image && !pv_ram_image_is_named(ram->image) &&
	       __atomic_load_n(&ram->image->references, __ATOMIC_RELAXED) <=
		   count_references(pool, ram->image);
}

/* Under the lock: lost RAM goes back to the host, on the pool's thread. */
static void forget_lost(struct pv_spare_pool *pool)
{
	bool found = false;
	for (unsigned i = 0; i < SPARES_MAX; i++) {
		struct entry *entry = &pool->entries[i];
		if (!entry->used || !entry->clean || !is_lost(pool, &entry->spare.ram))
			continue;
		pv_ram_leave(&entry->spare.ram);
		entry->clean = false;
		found = true;
	}
	if (found)
		pthread_cond_broadcast(&pool->changed);
}

/* --- giving and taking --- */

static bool has_shape(const struct pv_spare *spare, unsigned cpus, uint64_t size)
{
	return spare->vm.cpus == cpus && spare->ram.size == size;
}

/* Under the lock: room for one more of that shape, perhaps that of an old one, which then is moved
 * to `old`. NULL: there is none. */
static struct entry *find_room(
    struct pv_spare_pool *pool, const struct pv_spare *spare, struct pv_spare *old)
{
	struct entry *room = NULL, *oldest = NULL;
	uint64_t total = spare->ram.size;
	for (unsigned i = 0; i < SPARES_MAX; i++) {
		struct entry *entry = &pool->entries[i];
		if (!entry->used) {
			room = entry;
			continue;
		}
		total += entry->size;
		if (entry->clean && !has_shape(&entry->spare, spare->vm.cpus, spare->ram.size) &&
		    (!oldest || entry->number < oldest->number))
			oldest = entry;
	}
	if (room && total <= SIZE_MAX_ALL)
		return room;
	if (!oldest || total - oldest->size > SIZE_MAX_ALL)
		return NULL;
	*old = oldest->spare;
	oldest->used = false;
	return oldest;
}

bool pv_spare_give(struct pv_spare_pool *pool, struct pv_spare *spare)
{
	struct pv_reaper *reaper = spare->vm.kvm->reaper;
	struct pv_spare old = {.vm.fd = -1};
	pthread_mutex_lock(&pool->lock);
	forget_lost(pool);
	struct entry *entry = start_thread(pool) ? find_room(pool, spare, &old) : NULL;
	if (entry) {
		*entry = (struct entry){
		    .spare = *spare, .size = spare->ram.size, .used = true, .number = pool->next++};
		pthread_cond_broadcast(&pool->changed);
	}
	pthread_mutex_unlock(&pool->lock);
	if (old.vm.fd >= 0)
		pv_spare_finish(&old, reaper);
	return entry != NULL;
}

/* How well a spare serves: with all that the guest will touch mapped, with nothing in it, with what
 * another could use. */
static unsigned worth(const struct pv_ram *ram, struct pv_ram_image *image)
{
	if (!ram->image)
		return 2;
	return pv_ram_image_is_same(ram->image, image) ? 3 : 1;
}

bool pv_spare_take(
    struct pv_spare_pool *pool, unsigned cpus, struct pv_ram_image *image, struct pv_spare *out)
{
	struct entry *found = NULL;
	unsigned best = 0;
	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < SPARES_MAX; i++) {
		struct entry *entry = &pool->entries[i];
		if (!entry->used || !entry->clean || !has_shape(&entry->spare, cpus, image->size))
			continue;
		unsigned value = worth(&entry->spare.ram, image);
		if (value > best) {
			best = value;
			found = entry;
		}
	}
	if (found) {
		*out = found->spare;
		found->used = false;
	}
	forget_lost(pool);
	pthread_mutex_unlock(&pool->lock);
	return found != NULL;
}
