/*
 * ACPI power management block.
 *
 * The machine is always in ACPI mode: SCI_EN is set and there is no SMI command port. Events set a
 * status bit; status and enable together drive the SCI, a level that falls when the guest has
 * written ones to the status bits. Sleep is what PM1 control is told: S5 powers off; S3 is recorded
 * and told to the machine, which stops all vCPUs, and ends when the machine is woken
 * (vmm/machine_wake.c): then everything but RAM is as after a reset, and WAK_STS says why. A guest
 * that suspends itself to idle says so to nobody; Linux turns all general-purpose events off then
 * (acpi_s2idle_prepare) and waits for the SCI, of the power button or of the clock's alarm.
 *
 * Under the loop lock: ports on vCPU threads, the button on any. ACPI 6.4, sections 4.8.3,
 * 4.8.4 and 16.1.
 */
#include "vmm/pm.h"

#include <string.h>

#include "base/fields.h"
#include "base/pack.h"
#include "vmm/layout.h"

/* PM1 status and enable (4.8.3.1). */
#define PM1_TIMER	 (1u << 0)
#define PM1_GLOBAL	 (1u << 5)
#define PM1_POWER_BUTTON (1u << 8)
#define PM1_SLEEP_BUTTON (1u << 9)
#define PM1_RTC		 (1u << 10)
#define PM1_WAKE	 (1u << 15)
#define PM1_EVENTS	 (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC)
#define PM1_CLEARABLE	 (PM1_EVENTS | PM1_WAKE)

/* PM1 control (4.8.3.2.1). */
#define PM1_SCI_EN	 (1u << 0)
#define PM1_SLEEP_TYPE	 (7u << 10)
#define PM1_SLEEP_ENABLE (1u << 13)

#define TIMER_HZ  3579545u
#define SECOND_NS UINT64_C(1000000000)

#define BLOCK_SIZE 0x44u

static void update_sci(struct pv_pm *pm)
{
	bool level = (pm->status & pm->enable & PM1_EVENTS) || (pm->gpe_status & pm->gpe_enable);
	if (level == pm->sci_level)
		return;
	pm->sci_level = level;
	if (pm->sci.set)
		pm->sci.set(pm->sci.ctx, level);
}

static uint32_t timer_value(const struct pv_pm *pm)
{
	uint64_t ns = (uint64_t)pm->host.now(pm->host.ctx);
	return (uint32_t)(ns / SECOND_NS * TIMER_HZ + ns % SECOND_NS * TIMER_HZ / SECOND_NS);
}

/* The block as the guest would see it now. */
static void show(const struct pv_pm *pm, uint8_t block[BLOCK_SIZE])
{
	const uint32_t timer = timer_value(pm);
	memset(block, 0, BLOCK_SIZE);
	memcpy(block + PV_LAYOUT_PM_EVENT, &pm->status, 2);
	memcpy(block + PV_LAYOUT_PM_EVENT + 2, &pm->enable, 2);
	memcpy(block + PV_LAYOUT_PM_CONTROL, &pm->control, 2);
	memcpy(block + PV_LAYOUT_PM_TIMER, &timer, 4);
	memcpy(block + PV_LAYOUT_PM_GPE0, &pm->gpe_status, 2);
	memcpy(block + PV_LAYOUT_PM_GPE0 + 2, &pm->gpe_enable, 2);
}

static void read_ports(void *ctx, uint64_t offset, void *data, unsigned len)
{
	uint8_t block[BLOCK_SIZE];
	show(ctx, block);
	memset(data, 0, len);
	for (unsigned i = 0; i < len && offset + i < BLOCK_SIZE; i++)
		((uint8_t *)data)[i] = block[offset + i];
}

static void sleep_now(struct pv_pm *pm, unsigned type)
{
	if (type == PV_LAYOUT_SLEEP_S5)
		pm->host.power_off(pm->host.ctx);
	if (type != PV_LAYOUT_SLEEP_S3)
		return;
	pm->suspended = true;
	pm->host.suspend(pm->host.ctx);
}

static void write_control(struct pv_pm *pm, uint16_t value)
{
	pm->control = (value & PM1_SLEEP_TYPE) | PM1_SCI_EN;
	if (value & PM1_SLEEP_ENABLE)
		sleep_now(pm, (value & PM1_SLEEP_TYPE) >> 10);
}

/* Replaces the byte at `offset` of a register of two bytes. */
static uint16_t with_byte(uint16_t value, uint64_t offset, uint8_t byte)
{
	unsigned shift = offset & 1 ? 8 : 0;
	return (uint16_t)((value & ~(0xffu << shift)) | (unsigned)byte << shift);
}

static void write_byte(struct pv_pm *pm, uint64_t offset, uint8_t byte)
{
	switch (offset & ~UINT64_C(1)) {
	case PV_LAYOUT_PM_EVENT:
		pm->status &= (uint16_t) ~(with_byte(0, offset, byte) & PM1_CLEARABLE);
		break;
	case PV_LAYOUT_PM_EVENT + 2:
		pm->enable = with_byte(pm->enable, offset, byte) & PM1_EVENTS;
		break;
	case PV_LAYOUT_PM_CONTROL: write_control(pm, with_byte(pm->control, offset, byte)); break;
	case PV_LAYOUT_PM_GPE0: pm->gpe_status &= (uint16_t)~with_byte(0, offset, byte); break;
	case PV_LAYOUT_PM_GPE0 + 2: pm->gpe_enable = with_byte(pm->gpe_enable, offset, byte); break;
	case PV_LAYOUT_PM_RESET:
		if (offset == PV_LAYOUT_PM_RESET && byte == PV_LAYOUT_RESET_VALUE)
			pm->host.reset(pm->host.ctx);
		break;
	default: break;
	}
}

static void write_ports(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct pv_pm *pm = ctx;
	for (unsigned i = 0; i < len; i++)
		write_byte(pm, offset + i, ((const uint8_t *)data)[i]);
	update_sci(pm);
}

const struct pv_bus_ops pv_pm_ops = {.read = read_ports, .write = write_ports};

void pv_pm_init(struct pv_pm *pm, struct pv_irq_line sci, const struct pv_pm_host *host)
{
	*pm = (struct pv_pm){.sci = sci, .host = *host};
	pv_pm_reset(pm);
}

void pv_pm_reset(struct pv_pm *pm)
{
	pm->status = 0;
	pm->enable = 0;
	pm->control = PM1_SCI_EN;
	pm->gpe_status = 0;
	pm->gpe_enable = 0;
	pm->suspended = false;
	update_sci(pm);
}

void pv_pm_power_button(struct pv_pm *pm)
{
	pm->status |= PM1_POWER_BUTTON;
	update_sci(pm);
}

bool pv_pm_is_idle(const struct pv_pm *pm)
{
	return !pm->suspended && pm->gpe_enable == 0 && (pm->enable & PM1_POWER_BUTTON);
}

void pv_pm_alarm(struct pv_pm *pm)
{
	pm->status |= PM1_RTC;
	update_sci(pm);
}

void pv_pm_wake(struct pv_pm *pm)
{
	pv_pm_reset(pm);
	pm->status = PM1_WAKE;
}

void pv_pm_raise_gpe(struct pv_pm *pm, unsigned event)
{
	if (event > 15)
		return;
	pm->gpe_status |= (uint16_t)(1u << event);
	update_sci(pm);
}

void pv_pm_save(const struct pv_pm *pm, struct pv_pack *pack)
{
	const struct {
		const char *key;
		uint16_t value;
	} numbers[] = {
	    {"status",     pm->status	 },
	    {"enable",     pm->enable	 },
	    {"control",	pm->control   },
	    {"gpe_status", pm->gpe_status},
	    {"gpe_enable", pm->gpe_enable},
	};
	const unsigned count = sizeof(numbers) / sizeof(numbers[0]);
	pv_pack_map(pack, count + 2);
	for (unsigned i = 0; i < count; i++) {
		pv_pack_str(pack, numbers[i].key);
		pv_pack_uint(pack, numbers[i].value);
	}
	pv_pack_str(pack, "suspended");
	pv_pack_bool(pack, pm->suspended);
	pv_pack_str(pack, "sci_level");
	pv_pack_bool(pack, pm->sci_level);
}

int pv_pm_load(struct pv_pm *pm, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "power management", err);
	pm->status = (uint16_t)pv_fields_uint(&fields, "status", UINT16_MAX) & PM1_CLEARABLE;
	pm->enable = (uint16_t)pv_fields_uint(&fields, "enable", UINT16_MAX) & PM1_EVENTS;
	pm->control = (uint16_t)pv_fields_uint(&fields, "control", UINT16_MAX) & PM1_SLEEP_TYPE;
	pm->control |= PM1_SCI_EN;
	pm->gpe_status = (uint16_t)pv_fields_uint(&fields, "gpe_status", UINT16_MAX);
	pm->gpe_enable = (uint16_t)pv_fields_uint(&fields, "gpe_enable", UINT16_MAX);
	pm->suspended = pv_fields_bool(&fields, "suspended");
	pm->sci_level = pv_fields_bool(&fields, "sci_level");
	return pv_fields_end(&fields);
}
