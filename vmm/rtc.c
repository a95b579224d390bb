/*
 * MC146818 real-time clock, after its data sheet, with the century at 0x32 where PCs have it (the
 * FADT says so to the guest).
 *
 * The time registers are computed from the guest's wall clock when they are read; a guest that sets
 * them changes an offset. Both BCD and binary, 12 and 24 hours. With SET (register B) the registers
 * are still, as they must be, and count when it is cleared. The update-ended and alarm interrupts
 * come from one wake-up a second, asked for only while either is enabled. The periodic interrupt is
 * not there: Linux makes its own out of a high-resolution timer.
 *
 * Under the loop lock: ports on vCPU threads, wake-ups on the loop thread.
 */
#include "vmm/rtc.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fields.h"
#include "base/pack.h"

enum {
	SECONDS = 0,
	SECONDS_ALARM = 1,
	MINUTES = 2,
	MINUTES_ALARM = 3,
	HOURS = 4,
	HOURS_ALARM = 5,
	WEEKDAY = 6,
	DAY = 7,
	MONTH = 8,
	YEAR = 9,
	REGISTER_A = 10,
	REGISTER_B = 11,
	REGISTER_C = 12,
	REGISTER_D = 13,
	CENTURY = 0x32,
};

#define A_UPDATE_IN_PROGRESS 0x80u
#define A_DEFAULT	     0x26u /* 32 kHz crystal, 1024 Hz rate */

#define B_SET	  0x80u
#define B_ALARM	  0x20u
#define B_UPDATE  0x10u
#define B_BINARY  0x04u
#define B_24_HOUR 0x02u

#define C_INTERRUPT 0x80u
#define C_ALARM	    0x20u
#define C_UPDATE    0x10u

#define D_VALID 0x80u

/* Registers A's bit 7 is set that long before the second changes. */
#define UPDATE_NS 244000

/* What a guest can set: 1970 to 2223, so that nanoseconds and years of running fit 64 bits. */
#define SECONDS_MAX INT64_C(8000000000)
/* The guest's offset in a snapshot lies within plus and minus this. */
#define OFFSET_MAX (INT64_C(1) << 61)

#define SECONDS_OF_DAY 86400

#define ALARM_ANY 0xc0u /* an alarm byte from 0xc0 on matches everything */
#define PM	  0x80u

static int64_t now(const struct pv_rtc *rtc)
{
	return rtc->host.now(rtc->host.ctx) + rtc->offset_ns;
}

static int64_t floor_seconds(int64_t ns)
{
	int64_t seconds = ns / PV_CLOCK_SECOND;
	return ns % PV_CLOCK_SECOND < 0 ? seconds - 1 : seconds;
}

static uint8_t encode(const struct pv_rtc *rtc, int value)
{
	if (rtc->bytes[REGISTER_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static int decode(const struct pv_rtc *rtc, uint8_t value)
{
	if (rtc->bytes[REGISTER_B] & B_BINARY)
		return value;
	return (value >> 4) * 10 + (value & 0xf);
}

static uint8_t encode_hour(const struct pv_rtc *rtc, int hour)
{
	if (rtc->bytes[REGISTER_B] & B_24_HOUR)
		return encode(rtc, hour);
	int twelve = hour % 12 == 0 ? 12 : hour % 12;
	return encode(rtc, twelve) | (hour >= 12 ? PM : 0);
}

static int decode_hour(const struct pv_rtc *rtc, uint8_t value)
{
	if (rtc->bytes[REGISTER_B] & B_24_HOUR)
		return decode(rtc, value);
	int hour = decode(rtc, value & (uint8_t)~PM) % 12;
	return value & PM ? hour + 12 : hour;
}

/* Puts the time into the registers. */
static void show_time(struct pv_rtc *rtc)
{
	time_t seconds = (time_t)floor_seconds(now(rtc));
	struct tm tm;
	if ((rtc->bytes[REGISTER_B] & B_SET) || !gmtime_r(&seconds, &tm))
		return;
	int year = tm.tm_year + 1900;
	rtc->bytes[SECONDS] = encode(rtc, tm.tm_sec);
	rtc->bytes[MINUTES] = encode(rtc, tm.tm_min);
	rtc->bytes[HOURS] = encode_hour(rtc, tm.tm_hour);
	rtc->bytes[WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->bytes[DAY] = encode(rtc, tm.tm_mday);
	rtc->bytes[MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->bytes[YEAR] = encode(rtc, year % 100);
	rtc->bytes[CENTURY] = encode(rtc, year / 100);
}

/* Takes the time out of the registers. Nonsense in them is normalized and bounded, never refused.
 */
static void take_time(struct pv_rtc *rtc)
{
	struct tm tm = {
	    .tm_sec = decode(rtc, rtc->bytes[SECONDS]),
	    .tm_min = decode(rtc, rtc->bytes[MINUTES]),
	    .tm_hour = decode_hour(rtc, rtc->bytes[HOURS]),
	    .tm_mday = decode(rtc, rtc->bytes[DAY]),
	    .tm_mon = decode(rtc, rtc->bytes[MONTH]) - 1,
	    .tm_year =
		decode(rtc, rtc->bytes[CENTURY]) * 100 + decode(rtc, rtc->bytes[YEAR]) - 1900,
	};
	int64_t seconds = timegm(&tm);
	if (seconds < 0)
		seconds = 0;
	if (seconds > SECONDS_MAX)
		seconds = SECONDS_MAX;
	int64_t wanted = seconds * PV_CLOCK_SECOND;
	rtc->offset_ns = wanted - rtc->host.now(rtc->host.ctx);
	rtc->ticked_s = floor_seconds(wanted);
}

static void update_irq(struct pv_rtc *rtc)
{
	uint8_t causes = rtc->bytes[REGISTER_C] & rtc->bytes[REGISTER_B] & (C_ALARM | C_UPDATE);
	if (causes)
		rtc->bytes[REGISTER_C] |= C_INTERRUPT;
	bool level = causes != 0;
	if (level == rtc->irq_level)
		return;
	rtc->irq_level = level;
	if (rtc->irq.set)
		rtc->irq.set(rtc->irq.ctx, level);
}

/* Wakes at the next second while somebody wants interrupts. */
void pv_rtc_rearm(struct pv_rtc *rtc)
{
	if (!rtc->host.wake_at)
		return;
	uint8_t control = rtc->bytes[REGISTER_B];
	int64_t wake = PV_CLOCK_NEVER;
	if ((control & (B_ALARM | B_UPDATE)) && !(control & B_SET))
		wake = (floor_seconds(now(rtc)) + 1) * PV_CLOCK_SECOND - rtc->offset_ns;
	rtc->host.wake_at(rtc->host.ctx, wake);
}

/* True when an alarm byte is that of a value as the clock would show it. */
static bool alarm_byte_matches(const struct pv_rtc *rtc, unsigned alarm, uint8_t shown)
{
	return rtc->bytes[alarm] >= ALARM_ANY || rtc->bytes[alarm] == shown;
}

/* Looks at every second behind `from` up to `to`: guest time may pass in larger steps. */
static bool alarm_was_due(const struct pv_rtc *rtc, int64_t from, int64_t to)
{
	if (from > to)
		from = to - 1; /* it was set back: what lies between comes again */
	if (from < to - SECONDS_OF_DAY)
		from = to - SECONDS_OF_DAY;
	for (int64_t second = from + 1; second <= to; second++) {
		const int time =
		    (int)(((second % SECONDS_OF_DAY) + SECONDS_OF_DAY) % SECONDS_OF_DAY);
		if (alarm_byte_matches(rtc, SECONDS_ALARM, encode(rtc, time % 60)) &&
		    alarm_byte_matches(rtc, MINUTES_ALARM, encode(rtc, time / 60 % 60)) &&
		    alarm_byte_matches(rtc, HOURS_ALARM, encode_hour(rtc, time / 3600)))
			return true;
	}
	return false;
}

static void tick(struct pv_rtc *rtc)
{
	int64_t second = floor_seconds(now(rtc));
	if ((rtc->bytes[REGISTER_B] & B_SET) || second == rtc->ticked_s)
		return;
	if (alarm_was_due(rtc, rtc->ticked_s, second)) {
		rtc->bytes[REGISTER_C] |= C_ALARM;
		if ((rtc->bytes[REGISTER_B] & B_ALARM) && rtc->host.alarm)
			rtc->host.alarm(rtc->host.ctx);
	}
	rtc->ticked_s = second;
	show_time(rtc);
	rtc->bytes[REGISTER_C] |= C_UPDATE;
}

void pv_rtc_wake(struct pv_rtc *rtc)
{
	tick(rtc);
	update_irq(rtc);
	pv_rtc_rearm(rtc);
}

static uint8_t read_a(const struct pv_rtc *rtc)
{
	int64_t into = now(rtc) % PV_CLOCK_SECOND;
	if (into < 0)
		into += PV_CLOCK_SECOND;
	bool updating = into >= PV_CLOCK_SECOND - UPDATE_NS && !(rtc->bytes[REGISTER_B] & B_SET);
	return (rtc->bytes[REGISTER_A] & (uint8_t)~A_UPDATE_IN_PROGRESS) |
	       (updating ? A_UPDATE_IN_PROGRESS : 0);
}

static uint8_t read_c(struct pv_rtc *rtc)
{
	tick(rtc);
	uint8_t value = rtc->bytes[REGISTER_C];
	rtc->bytes[REGISTER_C] = 0;
	update_irq(rtc);
	return value;
}

static bool is_time(unsigned index)
{
	return index == SECONDS || index == MINUTES || index == HOURS ||
	       (index >= WEEKDAY && index <= YEAR) || index == CENTURY;
}

static uint8_t read_register(struct pv_rtc *rtc)
{
	const unsigned index = rtc->index;
	if (is_time(index))
		show_time(rtc);
	switch (index) {
	case REGISTER_A: return read_a(rtc);
	case REGISTER_C: return read_c(rtc);
	case REGISTER_D: return D_VALID;
	default: return rtc->bytes[index];
	}
}

static void write_b(struct pv_rtc *rtc, uint8_t value)
{
	uint8_t before = rtc->bytes[REGISTER_B];
	show_time(rtc);
	rtc->bytes[REGISTER_B] = value;
	if ((before & B_SET) && !(value & B_SET))
		take_time(rtc);
	/* Without the alarm nobody has looked at the seconds since. */
	if (!(before & B_ALARM) && (value & B_ALARM))
		rtc->ticked_s = floor_seconds(now(rtc));
	update_irq(rtc);
	pv_rtc_rearm(rtc);
}

static void write_register(struct pv_rtc *rtc, uint8_t value)
{
	const unsigned index = rtc->index;
	switch (index) {
	case REGISTER_A: rtc->bytes[index] = value & (uint8_t)~A_UPDATE_IN_PROGRESS; break;
	case REGISTER_B: write_b(rtc, value); break;
	case REGISTER_C:
	case REGISTER_D: break;
	default:
		if (!is_time(index)) {
			rtc->bytes[index] = value;
			break;
		}
		show_time(rtc);
		rtc->bytes[index] = value;
		if (!(rtc->bytes[REGISTER_B] & B_SET))
			take_time(rtc);
		break;
	}
}

static void read_ports(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct pv_rtc *rtc = ctx;
	memset(data, 0xff, len);
	if (offset == 1)
		*(uint8_t *)data = read_register(rtc);
}

static void write_ports(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct pv_rtc *rtc = ctx;
	uint8_t value = *(const uint8_t *)data;
	/* Bit 7 of the index port is the NMI mask. */
	if (offset == 0)
		rtc->index = value & (PV_RTC_BYTES - 1);
	else
		write_register(rtc, value);
}

const struct pv_bus_ops pv_rtc_ops = {.read = read_ports, .write = write_ports};

void pv_rtc_init(struct pv_rtc *rtc, struct pv_irq_line irq, const struct pv_rtc_host *host)
{
	*rtc = (struct pv_rtc){.irq = irq, .host = *host};
	rtc->bytes[REGISTER_A] = A_DEFAULT;
	rtc->bytes[REGISTER_B] = B_24_HOUR;
	rtc->ticked_s = floor_seconds(now(rtc));
}

void pv_rtc_reset(struct pv_rtc *rtc)
{
	rtc->index = 0;
	rtc->bytes[REGISTER_B] &= (uint8_t) ~(B_ALARM | B_UPDATE | B_SET);
	rtc->bytes[REGISTER_C] = 0;
	update_irq(rtc);
	pv_rtc_rearm(rtc);
}

void pv_rtc_save(const struct pv_rtc *rtc, struct pv_pack *pack)
{
	/* A guest may set any year, but one that is 73 years off is not worth an overflow. */
	int64_t offset = rtc->offset_ns < -OFFSET_MAX ? -OFFSET_MAX : rtc->offset_ns;
	pv_pack_map(pack, 5);
	pv_pack_str(pack, "offset");
	pv_pack_int(pack, offset > OFFSET_MAX ? OFFSET_MAX : offset);
	pv_pack_str(pack, "index");
	pv_pack_uint(pack, rtc->index);
	pv_pack_str(pack, "bytes");
	pv_pack_bin(pack, rtc->bytes, sizeof(rtc->bytes));
	pv_pack_str(pack, "ticked");
	pv_pack_int(pack, rtc->ticked_s);
	pv_pack_str(pack, "irq_level");
	pv_pack_bool(pack, rtc->irq_level);
}

int pv_rtc_load(struct pv_rtc *rtc, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "the real-time clock", err);
	int64_t offset = 0, ticked = 0;
	size_t size;
	if (!pv_val_int(pv_fields_value(&fields, "offset"), &offset) || offset < -OFFSET_MAX ||
	    offset > OFFSET_MAX)
		pv_fields_fail(&fields, "field `offset` is no difference of times");
	if (!pv_val_int(pv_fields_value(&fields, "ticked"), &ticked))
		pv_fields_fail(&fields, "field `ticked` is no time");
	const uint64_t index = pv_fields_uint(&fields, "index", PV_RTC_BYTES - 1);
	const bool level = pv_fields_bool(&fields, "irq_level");
	const void *bytes = pv_fields_bytes(&fields, "bytes", PV_RTC_BYTES, &size);
	if (size != PV_RTC_BYTES)
		pv_fields_fail(
		    &fields, "field `bytes` has %zu bytes instead of %u", size, PV_RTC_BYTES);
	int code = pv_fields_end(&fields);
	if (code < 0)
		return code;
	rtc->offset_ns = offset;
	rtc->ticked_s = ticked;
	rtc->index = (uint8_t)index;
	rtc->irq_level = level;
	memcpy(rtc->bytes, bytes, size);
	return 0;
}
