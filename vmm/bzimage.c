/*
 * bzImage (Documentation/arch/x86/boot.rst): the setup header at 0x1f1 says how many sectors the
 * real-mode code has, and from protocol 2.08 (Linux 2.6.26) on, where behind it the compressed
 * kernel lies. Both are checked against the file; nothing is found by scanning for magic numbers,
 * which sooner or later finds one in the wrong place. The last four bytes of the payload are the
 * size of the unpacked kernel, for every compression. Called by the kernel loader on any thread.
 */
#include "vmm/bzimage.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "vmm/kernel.h"
#include "vmm/layout.h"
#include "vmm/zero_page.h"

#define SECTOR		    512u
#define SETUP_SECTS_DEFAULT 4u
#define HEADER_END_2_08	    0x250u /* what is read here, at least */
#define CMDLINE_MAX_OLD	    255u

_Static_assert(PV_KERNEL_HEADER_MAX <= ZERO_PAGE_SETUP_HEADER_END - ZERO_PAGE_SETUP_SECTS,
    "the kept header fits into the zero page");

/* What the header says about the kernel as a whole. */
static int check_header(const uint8_t *file, struct pv_err *err)
{
	const unsigned version = pv_le16(file + ZERO_PAGE_VERSION);
	if (version < PROTOCOL_PAYLOAD)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "this bzImage has boot protocol %u.%02u, which does not say where the kernel "
		    "is in it (2.08 does, Linux 2.6.26); give its ELF vmlinux",
		    version >> 8, version & 0xff);
	if (!(file[ZERO_PAGE_LOADFLAGS] & LOADED_HIGH))
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "this is a zImage, which loads below 1 MiB; give a bzImage or an ELF vmlinux");
	if (version >= PROTOCOL_64 && !(pv_le16(file + ZERO_PAGE_XLOADFLAGS) & XLF_KERNEL_64))
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "this is a bzImage of a 32-bit x86 kernel; give one for x86-64");
	return 0;
}

static int find_payload(
    const uint8_t *file, size_t len, struct pv_bzimage_payload *payload, struct pv_err *err)
{
	uint64_t sectors = file[ZERO_PAGE_SETUP_SECTS];
	if (sectors == 0)
		sectors = SETUP_SECTS_DEFAULT;
	/* Offset and length have 32 bits each: the sum does not wrap. */
	const uint64_t start = (sectors + 1) * SECTOR + pv_le32(file + ZERO_PAGE_PAYLOAD_OFFSET);
	const uint64_t size = pv_le32(file + ZERO_PAGE_PAYLOAD_LENGTH);
	if (start + size > len)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "the file is cut short: its compressed kernel reaches to byte %llu, but it has "
		    "%zu; get the file again",
		    (unsigned long long)(start + size), len);
	if (size < 4)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "this bzImage says that its compressed kernel has %llu bytes; the file is "
		    "damaged",
		    (unsigned long long)size);
	payload->packed = (struct pv_span){.data = file + start, .len = (size_t)size};
	payload->unpacked_size = pv_le32(file + start + size - 4);
	return 0;
}

static void keep_header(struct pv_kernel *kernel, const uint8_t *file, size_t len)
{
	/* The jump over the header tells where it ends. */
	size_t end = ZERO_PAGE_HEADER + file[ZERO_PAGE_JUMP + 1];
	if (end < HEADER_END_2_08)
		end = HEADER_END_2_08;
	if (end > len)
		end = len;
	size_t size = end - ZERO_PAGE_SETUP_SECTS;
	if (size > PV_KERNEL_HEADER_MAX)
		size = PV_KERNEL_HEADER_MAX;
	memset(kernel->header, 0, sizeof(kernel->header));
	memcpy(kernel->header, file + ZERO_PAGE_SETUP_SECTS, size);
	kernel->header_size = size;

	uint32_t limit = CMDLINE_MAX_OLD;
	if (pv_le16(file + ZERO_PAGE_VERSION) >= PROTOCOL_CMDLINE)
		limit = pv_le32(file + ZERO_PAGE_CMDLINE_SIZE);
	if (limit > PV_LAYOUT_CMDLINE_MAX - 1)
		limit = PV_LAYOUT_CMDLINE_MAX - 1;
	kernel->cmdline_max = limit;
}

int pv_bzimage_read(struct pv_kernel *kernel, const void *data, size_t len,
    struct pv_bzimage_payload *payload, struct pv_err *err)
{
	const uint8_t *file = data;
	if (len < HEADER_END_2_08)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "the file is cut short: a bzImage with %zu bytes; get the file again", len);
	int status = check_header(file, err);
	if (status == 0)
		status = find_payload(file, len, payload, err);
	if (status == 0)
		keep_header(kernel, file, len);
	return status;
}
