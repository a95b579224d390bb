-- The examples of the page "VMs and profiles", as written there; README.md says which is which. Around them is what makes them tests.

local pubkey = "ssh-ed25519 AAAA… nobody@nowhere\n"

test("creating a VM", function(t)
	-- example
	local vm = provium:vm("name", "profile")
	-- end
	t:assert_eq(vm:state(), "created")
	t:assert_eq(vm:name(), "name")
	t:assert_eq(vm:profile(), "profile")
	t:assert_eq(provium:vm("name"), vm)
end)

test("creating a VM with boot options", function(t)
	-- example
	local vm = provium:vm("v", "peios", {
		memory = "2G",
		cpus = 4,
		kernel_cmdline = "console=hvc0 quiet earlyprintk=hvc0",
		rng_seed = 0xdeadbeef,
		initial_time = 1700000000,
		files = {
			{path = "/etc/hostname", content = "v"},
			{path = "/root/.ssh/authorized_keys", content = pubkey},
		},
	})
	-- end
	t:assert_eq(vm:state(), "created")
	-- "Per-boot opts merge with creation-time opts."
	vm:boot({memory = "256M", cpus = 1})
	t:assert_eq(vm:read_file("/etc/hostname"), "v")
	t:assert_eq(vm:read_file("/root/.ssh/authorized_keys"), pubkey)
	t:assert_contains(vm:read_file("/proc/cmdline"), "console=hvc0 quiet earlyprintk=hvc0")
	local now = tonumber(vm:run("date +%s").stdout)
	t:assert(now >= 1700000000 and now < 1700000600, "the guest's time is " .. now)
	t:assert_eq(vm:run("nproc").stdout, "1\n")
	local total = tonumber(vm:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+)"))
	t:assert(total < 256 * 1024, "MemTotal is " .. total)
end)

test("booting", function(t)
	-- example
	local vm = provium:vm("v", "peios"):boot()
	-- end
	t:assert_eq(vm:state(), "booted")
	t:assert_eq(vm:run("uname").stdout, "Linux\n")
end)

test("several VMs, each booted", function(t)
	-- example
	local a = provium:vm("a", "peios"):boot()
	local b = provium:vm("b", "peios"):boot()
	-- end
	t:assert_eq(a:state() .. b:state(), "bootedbooted")
	t:assert_neq(a:cid(), b:cid())
end)

test("several VMs, booted at once", function(t)
	-- example
	provium:vm("a", "peios")
	provium:vm("b", "peios")
	provium:boot() -- boots both
	-- end
	t:assert_eq(provium.a:state() .. provium.b:state(), "bootedbooted")
end)

-- The example has two lines that would give one name twice in one lab; each is one for itself.
test("a profile by its name", function(t)
	-- example
	provium:vm("a", "peios") -- uses [profiles.peios]
	-- end
	t:assert_eq(provium.a:profile(), "peios")
end)

test("another profile by its name", function(t)
	-- example
	provium:vm("a", "peios-debug") -- uses [profiles.peios-debug]
	-- end
	t:assert_eq(provium.a:profile(), "peios-debug")
	provium.a:boot()
	t:assert_contains(provium.a:read_file("/proc/cmdline"), "console=hvc0 debug")
	-- The console is there from the kernel's first line on.
	t:assert_contains(provium.a:console():read_log(), "[    0.000000] Linux version ")
end)

test("boot options in detail", function(t)
	-- example
	local vm = provium:vm("v", "peios", {
		memory = "1G",
		cpus = 2,
		rng_seed = 42,
		initial_time = 1700000000.5,
		files = {
			{path = "/etc/test.conf", content = "key=value\n"},
		},
	}):boot()
	-- end
	t:assert_eq(vm:read_file("/etc/test.conf"), "key=value\n")
	t:assert_eq(vm:run("nproc").stdout, "2\n")
	local total = tonumber(vm:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+)"))
	t:assert(total > 900 * 1024 and total <= 1024 * 1024, "MemTotal is " .. total)
	local now = tonumber(vm:run("date +%s").stdout)
	t:assert(now >= 1700000000 and now < 1700000600, "the guest's time is " .. now)
end)

test("querying a VM's state", function(t)
	local vm = provium:vm("v", "peios")
	t:assert_eq(vm:cid(), nil)
	vm:boot()
	-- example; each line is a value on its own there
	local values = {
		vm:name(), -- "v"
		vm:profile(), -- "peios"
		vm:state(), -- "created" | "booted" | "paused" | "shutdown" | "dead"
		vm:cid(), -- assigned vsock CID, or nil before boot
		vm:is_quiescent(), -- true if no in-flight ops, no open files, no open streams
		vm:open_file_count(), -- count of open files via the agent
		vm:open_stream_count(), -- count of active streams (tails, captures, console-reads)
	}
	-- end
	t:assert_eq(values[1], "v")
	t:assert_eq(values[2], "peios")
	t:assert_eq(values[3], "booted")
	t:assert_eq(math.type(values[4]), "integer")
	t:assert_eq(values[5], true)
	t:assert_eq(values[6], 0)
	t:assert_eq(values[7], 0)
end)

-- example
test("snapshot is taken at quiescence", function(t)
	local vm = provium:vm("v", "peios"):boot()
	vm:run("…")
	t:assert(vm:is_quiescent(), "VM must be quiescent before snapshot")
	local s = vm:snapshot()
	t:assert(s:size() > 0)
end)
-- end

test("snapshots", function(t)
	local vm = provium:vm("v", "peios"):boot()
	do
		-- example
		local s = vm:snapshot() -- writes to a tempfile
		-- end
		t:assert(s:size() > 0)
		s:delete()
		s:delete()
		t:assert_eq(s:size(), 0)
	end
	-- example
	local s = vm:snapshot("/tmp/x.snap") -- writes to that path
	-- end
	t:assert_eq(s:path(), "/tmp/x.snap")
	local file = io.open("/tmp/x.snap", "rb")
	t:assert(file, "/tmp/x.snap is not there")
	file:close()
	s:delete()
	t:assert(not io.open("/tmp/x.snap", "rb"), "it is still there")
end)

test("restoring", function(t)
	local vm = provium:vm("v", "peios"):boot()
	vm:write_file("/run/mark", "saved")
	local s = vm:snapshot()
	vm:snapshot("/tmp/x.snap")
	vm:write_file("/run/mark", "later")
	-- example
	vm:shutdown()
	vm:restore(s) -- from snapshot userdata
	-- end
	t:assert_eq(vm:state(), "booted")
	t:assert_eq(vm:read_file("/run/mark"), "saved")
	vm:write_file("/run/mark", "later")
	vm:shutdown()
	-- example
	vm:restore("/tmp/x.snap") -- from path
	-- end
	t:assert_eq(vm:state(), "booted")
	t:assert_eq(vm:read_file("/run/mark"), "saved")
	os.remove("/tmp/x.snap")
end)

test("snapshot with an open stream, and without", function(t)
	-- The example; its test is called "snapshot needs no open streams".
	local vm = provium:vm("v", "peios"):boot()
	vm:run("mkdir -p /var/log && touch /var/log/messages"):assert_ok()
	-- example
	local stream = vm:tail_file("/var/log/messages")
	-- vm:snapshot() would error here; close first.
	-- end
	local refused = t:assert_raises(function() vm:snapshot() end)
	t:assert_contains(tostring(refused), "1 open stream(s)")
	t:assert_contains(tostring(refused), "vms_and_profiles.test.lua:")
	-- example
	stream:close()
	local s = vm:snapshot()
	-- end
	t:assert(s:size() > 0)
end)

test("determinism", function(t)
	-- example
	local vm = provium:vm("v", "peios", {
		rng_seed = 0xdeadbeef,
		initial_time = 1700000000,
	}):boot()
	-- end
	local drawn = vm:run("dd if=/dev/hwrng bs=16 count=1 2>/dev/null").stdout
	t:assert_eq(#drawn, 16)
	local again = provium:vm("again", "peios", {rng_seed = 0xdeadbeef, initial_time = 1700000000}):boot()
	t:assert_eq(again:run("dd if=/dev/hwrng bs=16 count=1 2>/dev/null").stdout, drawn)
	local now = tonumber(vm:run("date +%s").stdout)
	t:assert(now >= 1700000000 and now < 1700000600, "the guest's time is " .. now)
end)

test("pausing for inspection", function(t)
	local vm = provium:vm("v", "peios"):boot()
	-- example
	vm:pause()
	-- end
	-- A guest that stands still answers nobody: the example's second line is an error that says so.
	local refused = t:assert_raises(function()
		-- example
		local before = vm:read_file("/proc/loadavg")
		-- end
	end)
	t:assert_contains(tostring(refused), "is paused; use resume()")
	-- example
	vm:resume()
	-- end
	t:assert(vm:read_file("/proc/loadavg"):find("%d"), "nothing in /proc/loadavg")
end)

-- example
test("guest survives reset", function(t)
	local vm = provium:vm("v", "peios"):boot()
	vm:write_file("/tmp/before", "1")
	vm:reset()
	-- /tmp is tmpfs in the test profile; vm:reset() is a warm
	-- reboot, so /tmp is fresh. Check that the test's expectation
	-- matches what the profile actually does.
	local r = vm:run("test ! -f /tmp/before")
	r:assert_ok()
end)
-- end

test("lifecycle: an operation in the wrong state", function(t)
	local vm = provium:vm("v", "peios")
	-- "vm:reset() on Created VM must error."
	t:assert_contains(tostring(t:assert_raises(function() vm:reset() end)), "not booted")
	vm:boot()
	vm:power_button()
	t:assert_eq(vm:state(), "shutdown")
	vm:close()
	t:assert_eq(vm:state(), "shutdown")
end)

test("multi-VM topologies", function(t)
	t:skip("bridges are not there yet")
	-- example
	local lan = provium:bridge("lan")
	local a = provium:vm("a", "peios"):boot()
	local b = provium:vm("b", "peios"):boot()
	lan:attach({a, b})
	-- end
	do
		-- example; there it is the body of a test called "a can reach b"
		a:run("ping -c 1 -W 1 b.lan"):assert_ok()
		-- end
	end
end)
