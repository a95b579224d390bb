-- What the guest sees of its machine: processors, devices, interrupts, time, entropy, consoles.
test("stock kernel, two processors, devices by PCI with MSI-X", function(t)
	local vm = provium:vm("v", "linux", {memory = "256M", cpus = 2}):boot()
	t:assert_eq(vm:run("nproc").stdout, "2\n")
	local interrupts = vm:read_file("/proc/interrupts")
	t:assert_contains(interrupts, "PCI-MSI")
	t:assert_contains(interrupts, "virtio")
	local devices = vm:run("cat /sys/bus/virtio/devices/*/device | sort"):assert_ok().stdout
	t:assert_eq(devices, "0x0003\n0x0004\n0x0013\n")
	t:assert_contains(vm:read_file("/sys/devices/system/clocksource/clocksource0/available_clocksource"), "kvm-clock")
	t:assert_eq(vm:read_file("/sys/class/misc/hw_random/rng_current"), "virtio_rng.0\n")
end)

test("both processors really run", function(t)
	local vm = provium:vm("v", "linux", {memory = "256M", cpus = 2}):boot()
	for cpu = 0, 1 do
		t:assert_eq(vm:run("taskset -c " .. cpu .. " sh -c 'echo ran'").stdout, "ran\n")
	end
	vm:write_file("/sys/devices/system/cpu/cpu1/online", "0")
	t:assert_eq(vm:run("nproc").stdout, "1\n")
	vm:write_file("/sys/devices/system/cpu/cpu1/online", "1")
	t:assert_eq(vm:run("nproc").stdout, "2\n")
end)

test("the clock starts at initial_time and goes on from there", function(t)
	local base = 86400 * 365 * 40 + 0.75
	local before = _provium_now()
	local vm = provium:vm("v", "linux", {memory = "128M", initial_time = base}):boot()
	-- The kernel's own time stamps have a fraction: boot time + time since boot, both from the wall clock MSR and kvmclock.
	vm:write_file("/tmp/now", "")
	local now = vm:stat("/tmp/now").mtime
	local elapsed = _provium_now() - before
	t:assert(now >= base and now <= base + elapsed, ("the guest says %.3f, %.3f s after the start"):format(now, elapsed))
	-- The RTC says the same, in whole seconds.
	local rtc = tonumber(vm:read_file("/sys/class/rtc/rtc0/since_epoch"))
	t:assert(math.abs(rtc - now) <= 2, "the RTC says " .. rtc .. ", the clock " .. now)
end)

test("without initial_time the guest has the host's time", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M"}):boot()
	local guest = tonumber((vm:run("date +%s").stdout))
	t:assert(math.abs(guest - os.time()) <= 5, "guest " .. guest .. ", host " .. os.time())
end)

test("the same rng_seed gives the same entropy device", function(t)
	local function bytes(name, seed)
		local vm = provium:vm(name, "linux", {memory = "128M", rng_seed = seed}):boot()
		local r = vm:run("dd if=/dev/hwrng bs=64 count=1 2>/dev/null | sha256sum"):assert_ok()
		vm:shutdown()
		return r.stdout
	end
	local first = bytes("a", 42)
	t:assert_eq(bytes("b", 42), first)
	t:assert_neq(bytes("c", 43), first)
end)

test("typing on the console reaches the guest", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M"}):boot()
	vm:run("(read line < /dev/hvc0; echo got:$line > /tmp/typed) > /dev/null 2>&1 &"):assert_ok()
	_provium_sleep(0.5)
	vm:console():write("hello there\n")
	wait_until(function()
		local ok, text = pcall(vm.read_file, vm, "/tmp/typed")
		return ok and text == "got:hello there\n"
	end, {timeout = 20, desc = "the line arrives"})
end)

test("both consoles feed one log", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M"}):boot()
	vm:run("echo by serial > /dev/ttyS0; echo by virtio > /dev/hvc0"):assert_ok()
	vm:console():expect("by serial", 20)
	vm:console():expect("by virtio", 20)
end)

test("opening a device node loads its module", function(t)
	local vm = provium:vm("v", "linux", {memory = "128M"}):boot()
	t:assert_eq(vm:stat("/dev/loop-control").entry_type, "char_device")
	t:assert(not vm:read_file("/proc/modules"):find("loop ", 1, true), "loop was loaded at boot")
	vm:run("true < /dev/loop-control"):assert_ok()
	t:assert_contains(vm:read_file("/proc/modules"), "loop ")
end)
