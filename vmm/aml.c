/*
 * The AML writer. Objects with a package length are begun with room for a length of three bytes,
 * which is filled in when they end (20.2.4: one lead byte with the number of further ones, and
 * twelve more bits in two of them and four in the lead byte: up to 1 MiB). The shortest form is not
 * required. Pure memory work; called at every boot by the table builder.
 */
#include "vmm/aml.h"

#include <errno.h>
#include <string.h>

#define AML_ZERO       0x00
#define AML_ONE	       0x01
#define AML_NAME       0x08
#define AML_BYTE       0x0a
#define AML_WORD       0x0b
#define AML_DWORD      0x0c
#define AML_STRING     0x0d
#define AML_QWORD      0x0e
#define AML_SCOPE      0x10
#define AML_BUFFER     0x11
#define AML_PACKAGE    0x12
#define AML_METHOD     0x14
#define AML_DUAL_NAME  0x2e
#define AML_EXT	       0x5b
#define AML_ROOT       0x5c
#define AML_NOTIFY     0x86
#define AML_EXT_DEVICE 0x82

#define LENGTH_BYTES 3
#define LENGTH_MAX   ((1u << 20) - 1)

static void put(struct pv_aml *aml, const void *data, size_t len)
{
	if (aml->status == 0)
		aml->status = pv_bytes_append(&aml->out, data, len);
}

static void put_byte(struct pv_aml *aml, uint8_t value)
{
	put(aml, &value, 1);
}

static void put_number(struct pv_aml *aml, uint64_t value, size_t len)
{
	put(aml, &value, len);
}

/* Room for a package length; returns where. */
static size_t begin_length(struct pv_aml *aml)
{
	size_t at = aml->out.len;
	put(aml, "\0\0\0", LENGTH_BYTES);
	return at;
}

void pv_aml_end(struct pv_aml *aml, size_t begun)
{
	if (aml->status < 0)
		return;
	size_t len = aml->out.len - begun;
	if (len > LENGTH_MAX) {
		aml->status = -EFBIG;
		return;
	}
	uint8_t *at = aml->out.data + begun;
	at[0] = (uint8_t)((LENGTH_BYTES - 1) << 6 | (len & 0xf));
	at[1] = (uint8_t)(len >> 4);
	at[2] = (uint8_t)(len >> 12);
}

size_t pv_aml_scope(struct pv_aml *aml, const char *name)
{
	put_byte(aml, AML_SCOPE);
	size_t begun = begin_length(aml);
	put(aml, name, strlen(name));
	return begun;
}

size_t pv_aml_device(struct pv_aml *aml, const char *name)
{
	put_byte(aml, AML_EXT);
	put_byte(aml, AML_EXT_DEVICE);
	size_t begun = begin_length(aml);
	put(aml, name, strlen(name));
	return begun;
}

size_t pv_aml_method(struct pv_aml *aml, const char *name)
{
	put_byte(aml, AML_METHOD);
	size_t begun = begin_length(aml);
	put(aml, name, strlen(name));
	put_byte(aml, 0); /* not serialized */
	return begun;
}

size_t pv_aml_package(struct pv_aml *aml, uint8_t count)
{
	put_byte(aml, AML_PACKAGE);
	size_t begun = begin_length(aml);
	put_byte(aml, count);
	return begun;
}

/* A buffer: its size as a word, which the end fills in, then the descriptors. */
size_t pv_aml_resources(struct pv_aml *aml)
{
	put_byte(aml, AML_BUFFER);
	size_t begun = begin_length(aml);
	put_byte(aml, AML_WORD);
	put_number(aml, 0, 2);
	return begun;
}

void pv_aml_end_resources(struct pv_aml *aml, size_t begun)
{
	put(aml, "\x79\0", 2);
	if (aml->status < 0)
		return;
	size_t content = begun + LENGTH_BYTES + 3;
	pv_put_le16(aml->out.data + content - 2, (uint16_t)(aml->out.len - content));
	pv_aml_end(aml, begun);
}

void pv_aml_name(struct pv_aml *aml, const char *name)
{
	put_byte(aml, AML_NAME);
	put(aml, name, strlen(name));
}

void pv_aml_integer(struct pv_aml *aml, uint64_t value)
{
	if (value <= 1) {
		put_byte(aml, value ? AML_ONE : AML_ZERO);
		return;
	}
	size_t len = value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
	put_byte(aml, len == 1 ? AML_BYTE : len == 2 ? AML_WORD : len == 4 ? AML_DWORD : AML_QWORD);
	put_number(aml, value, len);
}

void pv_aml_string(struct pv_aml *aml, const char *text)
{
	put_byte(aml, AML_STRING);
	put(aml, text, strlen(text) + 1);
}

void pv_aml_notify(struct pv_aml *aml, const char *scope, const char *device, uint8_t value)
{
	put_byte(aml, AML_NOTIFY);
	put_byte(aml, AML_ROOT);
	put_byte(aml, AML_DUAL_NAME);
	put(aml, scope, 4);
	put(aml, device, 4);
	pv_aml_integer(aml, value);
}

static uint32_t hex_digit(char c)
{
	return c >= 'A' ? (uint32_t)(c - 'A' + 10) : (uint32_t)(c - '0');
}

/* Three letters of five bits and four hexadecimal digits, the first byte first (19.3.4, EISAID). */
void pv_aml_eisa_id(struct pv_aml *aml, const char *id)
{
	uint32_t letters =
	    (uint32_t)(id[0] - '@') << 10 | (uint32_t)(id[1] - '@') << 5 | (uint32_t)(id[2] - '@');
	uint8_t bytes[4] = {
	    (uint8_t)(letters >> 8),
	    (uint8_t)letters,
	    (uint8_t)(hex_digit(id[3]) << 4 | hex_digit(id[4])),
	    (uint8_t)(hex_digit(id[5]) << 4 | hex_digit(id[6])),
	};
	put_byte(aml, AML_DWORD);
	put(aml, bytes, sizeof(bytes));
}

/* 6.4.2.5, decoding 16 bits. */
void pv_aml_io(struct pv_aml *aml, uint16_t base, uint8_t len)
{
	put(aml, "\x47\x01", 2);
	put_number(aml, base, 2);
	put_number(aml, base, 2);
	put_byte(aml, 1);
	put_byte(aml, len);
}

/* 6.4.2.1 without flags: edge-triggered, active high, exclusive. */
void pv_aml_irq(struct pv_aml *aml, unsigned irq)
{
	put_byte(aml, 0x22);
	put_number(aml, UINT64_C(1) << irq, 2);
}

/* 6.4.3.5: an address space descriptor whose ends are fixed; `size` is the width of its numbers. */
static void address_space(
    struct pv_aml *aml, uint8_t type, uint8_t specific, uint64_t first, uint64_t last, size_t size)
{
	put_byte(aml, size == 2 ? 0x88 : 0x87);
	put_number(aml, 3 + 5 * size, 2);
	put_byte(aml, type);
	put_byte(aml, 0x0c);
	put_byte(aml, specific);
	put_number(aml, 0, size);
	put_number(aml, first, size);
	put_number(aml, last, size);
	put_number(aml, 0, size);
	put_number(aml, last - first + 1, size);
}

void pv_aml_bus_range(struct pv_aml *aml, uint16_t first, uint16_t last)
{
	address_space(aml, 2, 0, first, last, 2);
}

void pv_aml_io_range(struct pv_aml *aml, uint16_t first, uint16_t last)
{
	/* Entire range: ISA and others. */
	address_space(aml, 1, 3, first, last, 2);
}

void pv_aml_memory_range(struct pv_aml *aml, uint32_t first, uint32_t last)
{
	/* Read-write, not cacheable. */
	address_space(aml, 0, 1, first, last, 4);
}
