/*
 * A growable byte buffer, and reading and writing of little- and big-endian integers in plain memory.
 */
#ifndef PV_BASE_BYTES_H
#define PV_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A zeroed struct is an empty buffer. `data` is NULL or owned by the buffer and moves when it grows. */
struct pv_bytes {
	uint8_t *data;
	size_t len;
	size_t capacity;
};

/* A read-only view; it owns nothing. */
struct pv_span {
	const void *data;
	size_t len;
};

/*
 * Tells the kernel that a block of the allocator is about to be filled: a large one then costs a page fault for each 2 MiB, not for each 4 KiB.
 * Nothing for small ones. pv_bytes_reserve does it by itself. Any thread.
 */
void pv_bytes_expect_much(void *block, size_t size);

/* Makes room for `extra` bytes behind `len`. Returns 0 or -ENOMEM; the content is unchanged on failure. */
int pv_bytes_reserve(struct pv_bytes *bytes, size_t extra);

/* Appends a copy. Returns 0 or -ENOMEM. `data` may be NULL when `len` is 0. */
int pv_bytes_append(struct pv_bytes *bytes, const void *data, size_t len);

/* Appends formatted text without its closing NUL. Returns 0 or -ENOMEM. */
int pv_bytes_printf(struct pv_bytes *bytes, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Removes `count` bytes at the front (all of them when there are fewer). */
void pv_bytes_consume(struct pv_bytes *bytes, size_t count);

/* Ends the content with a NUL that is not counted in `len`. Returns the text, or NULL when out of memory. */
const char *pv_bytes_text(struct pv_bytes *bytes);

/* Frees the content and zeroes the struct; NULL and empty buffers are fine. */
void pv_bytes_finish(struct pv_bytes *bytes);

static inline uint16_t pv_le16(const void *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint32_t pv_le32(const void *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint64_t pv_le64(const void *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof(value));
	return value;
}

static inline void pv_put_le16(void *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void pv_put_le32(void *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void pv_put_le64(void *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline uint32_t pv_be32(const void *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return __builtin_bswap32(value);
}

static inline void pv_put_be32(void *at, uint32_t value)
{
	value = __builtin_bswap32(value);
	memcpy(at, &value, sizeof(value));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the plain copies above are little-endian");

#endif
