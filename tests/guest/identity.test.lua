-- What copies of one guest must not share (entropy, generation id), and must share when the author gave a seed.
provium.timeout = "3m"

-- 16 bytes at 0xff000, where the ACPI device VGEN says that they are; the mark behind them is the harness' own.
local function generation(vm)
	local text = vm:run("dd if=/dev/mem bs=16 skip=65280 count=2 2>/dev/null | hexdump -e '16/1 \"%02x\" \"\\n\"'"):assert_ok().stdout
	local id, mark = text:match("^(%x+)\n(%x+)\n$")
	assert(mark == "70726f7669756d20766d67656e696400", "no generation id there: " .. text)
	return id
end

-- How often the guest's kernel took the event that announces a change.
local function announced(vm)
	return tonumber(vm:read_file("/sys/firmware/acpi/interrupts/gpe05"):match("%d+"))
end

local function bytes(vm)
	return vm:run("head -c 32 /dev/urandom | hexdump -e '32/1 \"%02x\"'"):assert_ok().stdout
end

-- All values differ from each other.
local function differ(t, values, what)
	local seen = {}
	for i, value in ipairs(values) do
		t:assert(not seen[value], ("%s: number %d is that of number %d: %s"):format(what, i, seen[value] or 0, value))
		seen[value] = i
	end
end

local vm = provium:vm("v", "linux", {memory = "128M"}):boot()
local seeded = provium:vm("s", "linux", {memory = "128M", rng_seed = 42}):boot()

test("the guest's firmware names the generation id", function(t)
	local dsdt = vm:read_file("/sys/firmware/acpi/tables/DSDT")
	t:assert_contains(dsdt, "VM_Gen_Counter")
	-- A package of two numbers: 0x000ff000 as a double word, and zero.
	t:assert(dsdt:find("ADDR\x12...\x02\x0c\x00\xf0\x0f\x00\x00"), "the device has no address")
	t:assert_contains(vm:read_file("/sys/firmware/acpi/interrupts/gpe05"), "enabled")
	t:assert_neq(generation(vm), ("00"):rep(16))
end)

test("forks draw different random numbers, and from the parent too", function(t)
	local drawn = {}
	for _, fork in ipairs(vm:fork(3)) do
		drawn[#drawn + 1] = bytes(fork)
	end
	drawn[#drawn + 1] = bytes(vm)
	differ(t, drawn, "random bytes")
end)

test("restores of one snapshot draw different random numbers, from the first request on", function(t)
	local s = vm:snapshot()
	local drawn = {}
	for i = 1, 3 do
		-- A program's first bytes: the kernel gives them to every process that it starts.
		drawn[i] = provium:vm("r" .. i, "linux"):restore(s):run("hexdump -e '16/1 \"%02x\"' /proc/sys/kernel/random/uuid").stdout
	end
	differ(t, drawn, "random bytes")
end)

test("every fork and restore is a generation of its own, a pause is none", function(t)
	local id, count = generation(vm), announced(vm)
	local ids = {id}
	local s = vm:snapshot()
	vm:pause()
	vm:resume()
	t:assert_eq(generation(vm), id)
	for _, fork in ipairs(vm:fork(2)) do
		ids[#ids + 1] = generation(fork)
		t:assert_eq(announced(fork), count + 1)
		ids[#ids + 1] = generation(fork:fork(1)[1])
	end
	local r = provium:vm("r", "linux"):restore(s)
	ids[#ids + 1] = generation(r)
	r:shutdown()
	ids[#ids + 1] = generation(r:restore(s))
	differ(t, ids, "generation ids")
	t:assert_eq(announced(vm), count)
end)

test("a reboot keeps the generation", function(t)
	local r = provium:vm("r", "linux"):restore(vm:snapshot())
	local id = generation(r)
	r:reset()
	t:assert_eq(generation(r), id)
end)

-- Three copies do the same from their first moment on; true when they drew the same random bytes.
local function drew_the_same()
	-- A kernel renews its generator with the time every now and then (in the first two minutes after half of its uptime), when somebody
	-- draws: so not in the copies.
	seeded:run("head -c 1 /dev/urandom"):assert_ok()
	local drawn = {}
	for i, fork in ipairs(seeded:fork(3)) do
		drawn[i] = bytes(fork)
	end
	return drawn[1] == drawn[2] and drawn[2] == drawn[3]
end

test("with rng_seed copies are the same", function(t)
	local id, count = generation(seeded), announced(seeded)
	for _, fork in ipairs(seeded:fork(2)) do
		t:assert_eq(generation(fork), id)
		t:assert_eq(announced(fork), count)
	end
	-- Where it did fall into the copies, another round decides: copies that are made to differ never draw the same.
	t:assert(drew_the_same() or drew_the_same() or drew_the_same(), "three times the copies drew different bytes")
end)

test("the generation id comes from the seed", function(t)
	local other = provium:vm("other", "linux", {memory = "128M", rng_seed = 42}):boot()
	t:assert_eq(generation(other), generation(seeded))
	local third = provium:vm("third", "linux", {memory = "128M", rng_seed = 43}):boot()
	t:assert_neq(generation(third), generation(seeded))
end)

test("copies part when the guest's init makes no /dev", function(t)
	local init = "#!/bin/busybox sh\n/bin/busybox mkfifo /wait\nexec 3<>/wait\nread -u 3 x\n"
	local bare = provium:vm("bare", "linux", {memory = "128M", files = {{path = "/init", content = init, mode = 493}}}):boot()
	bare:run("/bin/busybox mkdir -p /mnt && /bin/busybox mount -t proc proc /mnt"):assert_ok()
	t:assert_eq(bare:run("/bin/busybox ls /dev /.provium*").stdout:match("urandom"), nil)
	local drawn = {}
	for i, fork in ipairs(bare:fork(3)) do
		drawn[i] = fork:read_file("/mnt/sys/kernel/random/uuid")
		t:assert_eq(fork:console():read_log():find("takes no entropy"), nil)
	end
	differ(t, drawn, "random bytes")
end)
