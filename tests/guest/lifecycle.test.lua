-- States and transitions of a VM, with the error of every wrong one (spec 7.1).
local function fails(t, pattern, call, ...)
	local ok, err = pcall(call, ...)
	t:assert(not ok, "expected an error with `" .. pattern .. "`")
	t:assert_contains(tostring(err), pattern)
end

local function new(t, opts)
	opts = opts or {}
	opts.memory = opts.memory or "128M"
	return provium:vm("v", "linux", opts)
end

test("created: queries work, operations name the state", function(t)
	local vm = new(t)
	t:assert_eq(vm:name(), "v")
	t:assert_eq(vm:profile(), "linux")
	t:assert_eq(vm:state(), "created")
	t:assert_eq(vm:cid(), nil)
	for _, action in ipairs({"run", "pause", "resume", "reset", "power_button", "read_file"}) do
		fails(t, "not booted", vm[action], vm, "x")
	end
	fails(t, "vm `v`", vm.run, vm, "true")
end)

test("booted: boot again and resume are refused, boot returns the VM", function(t)
	local vm = new(t)
	t:assert_eq(vm:boot(), vm)
	t:assert_eq(vm:state(), "booted")
	t:assert(vm:cid() >= 3, "cid " .. tostring(vm:cid()))
	fails(t, "already booted", vm.boot, vm)
	fails(t, "already booted", vm.resume, vm)
end)

test("pause stops guest time and resume goes on", function(t)
	local vm = new(t):boot()
	local function uptime() return tonumber(vm:read_file("/proc/uptime"):match("^[%d.]+")) end
	local before = uptime()
	vm:pause()
	t:assert_eq(vm:state(), "paused")
	fails(t, "is paused; use resume()", vm.run, vm, "true")
	fails(t, "is paused; use resume()", vm.pause, vm)
	_provium_sleep(3)
	vm:resume()
	local after = uptime()
	t:assert(after - before < 2.5, "guest time ran on while paused: " .. after - before .. " s")
	for _ = 1, 5 do
		vm:pause()
		vm:resume()
	end
	vm:run("true"):assert_ok()
end)

test("shutdown is final and idempotent", function(t)
	local vm = new(t):boot()
	vm:shutdown()
	vm:shutdown()
	vm:close()
	t:assert_eq(vm:state(), "shutdown")
	fails(t, "is shutdown; create a new one", vm.run, vm, "true")
	fails(t, "is shutdown; create a new one", vm.boot, vm)
end)

test("reset boots again and keeps the log", function(t)
	local vm = new(t, {kernel_cmdline_append = "loglevel=5", files = {{path = "/etc/given", content = "given"}}}):boot()
	vm:write_file("/etc/given", "changed")
	vm:write_file("/dev/kmsg", "<2>before the reset\n")
	vm:console():expect("before the reset", 20)
	local id = vm:read_file("/proc/sys/kernel/random/boot_id")
	vm:reset()
	t:assert_eq(vm:state(), "booted")
	t:assert_neq(vm:read_file("/proc/sys/kernel/random/boot_id"), id)
	t:assert_contains(vm:console():read_log(), "before the reset")
	t:assert_eq(vm:read_file("/etc/given"), "given")
	t:assert_contains(vm:read_file("/proc/cmdline"), "loglevel=5")
	fails(t, "timed out waiting", function() vm:console():expect("before the reset", "100ms") end)
end)

test("a guest that reboots itself comes back as the same VM", function(t)
	local vm = new(t):boot()
	local id = vm:read_file("/proc/sys/kernel/random/boot_id")
	local ok, err = pcall(vm.run, vm, "reboot -f; sleep 60")
	t:assert(not ok, "the run survived a reboot")
	wait_until(function()
		local answered, now = pcall(vm.read_file, vm, "/proc/sys/kernel/random/boot_id")
		return answered and now ~= id
	end, {timeout = 60, interval = 0.5, desc = "the next boot"})
	t:assert_eq(vm:state(), "booted")
end)

test("a guest that powers itself off is dead, with the reason", function(t)
	local vm = new(t):boot()
	pcall(vm.run, vm, "poweroff -f; sleep 60")
	-- The agent is lost a moment before the machine is off, and then the reason is that.
	wait_until(function()
		local _, err = pcall(vm.run, vm, "true")
		return tostring(err):find("powered off", 1, true)
	end, {timeout = 30, desc = "power-off"})
	t:assert_eq(vm:state(), "dead")
	fails(t, "died; create a new one", vm.run, vm, "true")
end)

test("the power button is a graceful end", function(t)
	local vm = new(t):boot()
	vm:power_button()
	t:assert_eq(vm:state(), "shutdown")
end)

test("names are free again in the next test", function(t)
	t:assert_raises(function() provium:vm("v") end)
	new(t)
	fails(t, "already used in this lab", new, t)
end)

test("what comes behind the hello is there before the first request", function(t)
	local v = new(t):boot()
	local r = v:run("test -c /dev/hvc0 && test -e /dev/hwrng && grep -q /dev/shm /proc/mounts && cat /proc/sys/kernel/ostype")
	t:assert_eq(r.stdout, "Linux\n")
end)
